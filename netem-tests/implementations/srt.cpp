// One end of a transfer over SRT in file mode (Debian: libsrt-openssl-dev), told by its arguments:
//
//   srt recv --port N --bytes B --window W
//   srt send HOST PORT BYTES --window W
//
// The receiver prints lines of "bytes nanoseconds" (monotonic clock) as they come in, the last for the
// last byte. The lab starts, watches and kills both ends (netem-tests/src/implementation).

#include <arpa/inet.h>
#include <netinet/in.h>
#include <srt/srt.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

namespace {

constexpr int kPayload = 1456;
constexpr uint64_t kTallyNs = 20'000'000;

[[noreturn]] void fail(const char* what) {
    fprintf(stderr, "%s: %s\n", what, srt_getlasterror_str());
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

template <typename T>
void set(SRTSOCKET s, SRT_SOCKOPT name, T value) {
    if (srt_setsockflag(s, name, &value, sizeof value) == SRT_ERROR) fail("option");
}

// File mode: no timestamps, no drops, the stream API, FileCC. The flow window comes before the receive
// buffer, which it bounds. No limit of rate (SRTO_MAXBW -1 is file mode's default).
SRTSOCKET make_socket(int window) {
    SRTSOCKET s = srt_create_socket();
    if (s == SRT_INVALID_SOCK) fail("socket");
    set<int>(s, SRTO_TRANSTYPE, SRTT_FILE);
    set<int>(s, SRTO_FC, std::max(25600, window / kPayload));
    set<int>(s, SRTO_SNDBUF, window);
    set<int>(s, SRTO_RCVBUF, window);
    set<int>(s, SRTO_UDP_SNDBUF, window);
    set<int>(s, SRTO_UDP_RCVBUF, window);
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
    SRTSOCKET listener = make_socket(window);
    sockaddr_in any = address("0.0.0.0", port);
    if (srt_bind(listener, reinterpret_cast<sockaddr*>(&any), sizeof any) == SRT_ERROR) fail("bind");
    if (srt_listen(listener, 1) == SRT_ERROR) fail("listen");
    SRTSOCKET s = srt_accept(listener, nullptr, nullptr);
    if (s == SRT_INVALID_SOCK) fail("accept");
    std::vector<char> block(1 << 18);
    int64_t arrived = 0;
    uint64_t told = 0;
    while (arrived < bytes) {
        int len = srt_recv(s, block.data(), int(block.size()));
        if (len == SRT_ERROR) fail("recv");
        if (len == 0) break;
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
    SRTSOCKET s = make_socket(window);
    sockaddr_in to = address(host, port);
    if (srt_connect(s, reinterpret_cast<sockaddr*>(&to), sizeof to) == SRT_ERROR) fail("connect");
    std::vector<char> block(1 << 18, 0x5a);
    while (bytes > 0) {
        int len = srt_send(s, block.data(), int(std::min<int64_t>(bytes, int64_t(block.size()))));
        if (len == SRT_ERROR) fail("send");
        bytes -= len;
    }
    // Lingers until all is acknowledged (SRTO_LINGER, 180 s by default in file mode).
    srt_close(s);
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    std::string role = argc > 1 ? argv[1] : "";
    if (role == "version") {
        uint32_t v = srt_getversion();
        printf("libsrt %u.%u.%u\n", v >> 16 & 0xff, v >> 8 & 0xff, v & 0xff);
        return 0;
    }
    if (role != "recv" && (role != "send" || argc < 5)) {
        fprintf(stderr, "usage: srt recv|send|version ...\n");
        return 2;
    }
    int window = int(std::min<int64_t>(atoll(option(argc, argv, "--window")), 1 << 28));
    srt_startup();
    int code = role == "recv" ? receive(atoi(option(argc, argv, "--port")),
                                        atoll(option(argc, argv, "--bytes")), window)
                              : send(argv[2], atoi(argv[3]), atoll(argv[4]), window);
    srt_cleanup();
    return code;
}
