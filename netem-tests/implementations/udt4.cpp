// One end of a transfer over UDT 4 (Debian: libudt-dev), told by its arguments:
//
//   udt4 recv --port N --bytes B --window W
//   udt4 send HOST PORT BYTES --window W
//
// The receiver prints lines of "bytes nanoseconds" (monotonic clock) as they come in, the last for the
// last byte. The lab starts, watches and kills both ends (netem-tests/src/implementation).

#include <arpa/inet.h>
#include <netinet/in.h>
#include <time.h>
#include <udt/udt.h>
#include <unistd.h>

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

namespace {

constexpr int kMss = 1500;
constexpr int kUdtHeaders = 28 + 16;
constexpr uint64_t kTallyNs = 20'000'000;

[[noreturn]] void fail(const char* what) {
    fprintf(stderr, "%s: %s\n", what, UDT::getlasterror().getErrorMessage());
    exit(1);
}

uint64_t now_ns() {
    timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return uint64_t(t.tv_sec) * 1'000'000'000 + uint64_t(t.tv_nsec);
}

const char* option(int argc, char** argv, const char* name) {
    for (int i = 2; i + 1 < argc; i++) {
        if (strcmp(argv[i], name) == 0) return argv[i + 1];
    }
    fprintf(stderr, "%s is missing\n", name);
    exit(2);
}

void set(UDTSOCKET s, UDT::SOCKOPT name, int value) {
    if (UDT::setsockopt(s, 0, name, &value, sizeof value) == UDT::ERROR) fail("option");
}

// Window and buffers of `window` bytes; the window comes first, as it bounds the receive buffer.
UDTSOCKET make_socket(int window) {
    UDTSOCKET s = UDT::socket(AF_INET, SOCK_STREAM, 0);
    if (s == UDT::INVALID_SOCK) fail("socket");
    set(s, UDT_MSS, kMss);
    set(s, UDT_FC, std::max(25600, window / (kMss - kUdtHeaders)));
    set(s, UDT_SNDBUF, window);
    set(s, UDT_RCVBUF, window);
    set(s, UDP_SNDBUF, window);
    set(s, UDP_RCVBUF, window);
    return s;
}

sockaddr_in address(const char* host, int port) {
    sockaddr_in a{};
    a.sin_family = AF_INET;
    a.sin_port = htons(uint16_t(port));
    if (inet_pton(AF_INET, host, &a.sin_addr) != 1) {
        fprintf(stderr, "%s is no address\n", host);
        exit(2);
    }
    return a;
}

int receive(int port, int64_t bytes, int window) {
    UDTSOCKET listener = make_socket(window);
    sockaddr_in any = address("0.0.0.0", port);
    if (UDT::bind(listener, reinterpret_cast<sockaddr*>(&any), sizeof any) == UDT::ERROR) fail("bind");
    if (UDT::listen(listener, 1) == UDT::ERROR) fail("listen");
    sockaddr_in from;
    int from_len = sizeof from;
    UDTSOCKET s = UDT::accept(listener, reinterpret_cast<sockaddr*>(&from), &from_len);
    if (s == UDT::INVALID_SOCK) fail("accept");
    std::vector<char> block(1 << 18);
    int64_t arrived = 0;
    uint64_t told = 0;
    while (arrived < bytes) {
        int len = UDT::recv(s, block.data(), int(block.size()), 0);
        if (len == UDT::ERROR) fail("recv");
        arrived += len;
        uint64_t now = now_ns();
        if (arrived >= bytes || now >= told + kTallyNs) {
            told = now;
            printf("%" PRId64 " %" PRIu64 "\n", arrived, now);
            fflush(stdout);
        }
    }
    // The sender must learn that all has arrived before this end goes.
    sleep(1);
    return 0;
}

int send(const char* host, int port, int64_t bytes, int window) {
    UDTSOCKET s = make_socket(window);
    sockaddr_in to = address(host, port);
    if (UDT::connect(s, reinterpret_cast<sockaddr*>(&to), sizeof to) == UDT::ERROR) fail("connect");
    std::vector<char> block(1 << 18, 0x5a);
    while (bytes > 0) {
        int len = UDT::send(s, block.data(), int(std::min<int64_t>(bytes, int64_t(block.size()))), 0);
        if (len == UDT::ERROR) fail("send");
        bytes -= len;
    }
    // Lingers until all is acknowledged (UDT_LINGER, 180 s by default).
    UDT::close(s);
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    std::string role = argc > 1 ? argv[1] : "";
    if (role == "version") {
        printf("UDT 4.11 (Debian libudt0)\n");
        return 0;
    }
    if (role != "recv" && (role != "send" || argc < 5)) {
        fprintf(stderr, "usage: udt4 recv|send|version ...\n");
        return 2;
    }
    int window = int(std::min<int64_t>(atoll(option(argc, argv, "--window")), 1 << 28));
    UDT::startup();
    int code = role == "recv" ? receive(atoi(option(argc, argv, "--port")),
                                        atoll(option(argc, argv, "--bytes")), window)
                              : send(argv[2], atoi(argv[3]), atoll(argv[4]), window);
    UDT::cleanup();
    return code;
}
