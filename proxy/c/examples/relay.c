/* A proxy client and a proxy server inside one C program: a megabyte goes through both to an echo server and back.
 *
 *     cc relay.c -I../include -L../../../target/debug -lrpproxy -lpthread -o relay
 *     ./relay CLIENT_KEY_FILE SERVER_KEY_FILE CLIENT_FINGERPRINT SERVER_FINGERPRINT
 *
 * The key files are OpenSSH's (ssh-keygen -t ed25519 -N ''), the fingerprints those of ssh-keygen -l. */

#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "rpproxy.h"

#define SIZE (1 << 20)

static unsigned char sent[SIZE], received[SIZE];

static void fail(const char *what) {
    fprintf(stderr, "%s\n", what);
    exit(1);
}

static void log_line(void *context, int32_t level, const char *text) {
    fprintf(stderr, "%s %d: %s\n", (const char *)context, (int)level, text);
}

static void write_all(int fd, const unsigned char *bytes, size_t len) {
    while (len > 0) {
        ssize_t written = write(fd, bytes, len);
        if (written <= 0) fail("write failed");
        bytes += written;
        len -= (size_t)written;
    }
}

static void read_all(int fd, unsigned char *bytes, size_t len) {
    while (len > 0) {
        ssize_t got = read(fd, bytes, len);
        if (got <= 0) fail("the connection ended early");
        bytes += got;
        len -= (size_t)got;
    }
}

/* Sends back what one client sends, to its end. */
static void *echo(void *listener) {
    int fd = accept(*(int *)listener, NULL, NULL);
    unsigned char buffer[65536];
    ssize_t got;
    if (fd < 0) fail("accept failed");
    while ((got = read(fd, buffer, sizeof buffer)) > 0) write_all(fd, buffer, (size_t)got);
    close(fd);
    return NULL;
}

static void *send_all(void *fd) {
    write_all(*(int *)fd, sent, SIZE);
    return NULL;
}

/* The port in "listen":"ADDRESS:PORT" of a status. */
static int listen_port(rp_proxy *proxy) {
    char *status = rp_proxy_status(proxy);
    char *listen = status ? strstr(status, "\"listen\":\"") : NULL;
    char *colon = listen ? strchr(listen + 10, ':') : NULL;
    int port = colon ? atoi(colon + 1) : 0;
    if (port == 0) fail("no port in the status");
    rp_text_free(status);
    return port;
}

static rp_proxy *started(rp_proxy *proxy, char *error) {
    if (proxy == NULL) fail(error);
    return proxy;
}

int main(int argc, char **argv) {
    if (argc != 5) fail("usage: relay CLIENT_KEY SERVER_KEY CLIENT_FINGERPRINT SERVER_FINGERPRINT");
    char settings[4096];
    char *error = NULL;

    /* What is wrong is said, and nothing runs. */
    if (rp_client_start("{}", NULL, NULL, &error) != NULL || error == NULL) fail("{} was taken");
    printf("refused: %s\n", error);
    rp_text_free(error);

    snprintf(settings, sizeof settings,
             "{\"listen\":\"127.0.0.1:0\",\"identity\":\"%s\",\"authorized-keys\":[\"%s\"],\"allow\":[\"127.0.0.0/8\"]}",
             argv[2], argv[3]);
    rp_proxy *server = started(rp_server_start(settings, log_line, "server", &error), error);
    snprintf(settings, sizeof settings,
             "{\"server\":\"127.0.0.1:%d\",\"host-key\":\"%s\",\"identity\":\"%s\",\"listen\":\"127.0.0.1:0\"}",
             listen_port(server), argv[4], argv[1]);
    rp_proxy *client = started(rp_client_start(settings, log_line, "client", &error), error);

    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(listener, (struct sockaddr *)&address, len) != 0 || listen(listener, 1) != 0) fail("bind failed");
    if (getsockname(listener, (struct sockaddr *)&address, &len) != 0) fail("getsockname failed");
    pthread_t echoing, sending;
    if (pthread_create(&echoing, NULL, echo, &listener) != 0) fail("no thread");

    /* SOCKS5: no login, connect to 127.0.0.1 and the port of the echo server. */
    unsigned char request[13] = {5, 1, 0, 5, 1, 0, 1, 127, 0, 0, 1}, reply[12];
    memcpy(request + 11, &address.sin_port, 2);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    address.sin_port = htons((uint16_t)listen_port(client));
    if (connect(fd, (struct sockaddr *)&address, len) != 0) fail("connect failed");
    write_all(fd, request, sizeof request);
    read_all(fd, reply, sizeof reply);
    if (reply[3] != 0) fail("the proxy refused");

    for (size_t at = 0; at < SIZE; at++) sent[at] = (unsigned char)(at * 31 + at / 251);
    if (pthread_create(&sending, NULL, send_all, &fd) != 0) fail("no thread");
    read_all(fd, received, SIZE);
    if (memcmp(sent, received, SIZE) != 0) fail("what came back is not what was sent");
    pthread_join(sending, NULL);
    close(fd);
    pthread_join(echoing, NULL);
    close(listener);

    char *status = rp_proxy_status(client);
    printf("client %s\n", status);
    rp_text_free(status);
    status = rp_proxy_status(server);
    printf("server %s\n", status);
    rp_text_free(status);
    rp_proxy_stop(client);
    rp_proxy_stop(server);
    printf("a megabyte there and back with version %s\n", rp_version());
    return 0;
}
