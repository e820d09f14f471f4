/* The proxy of Rapidpath inside a C program: see the example in proxy/c/examples. Made by cbindgen from
 * proxy/c/src/lib.rs; a test says how it is made again. Every function may be called from any thread. */

#ifndef RPPROXY_H
#define RPPROXY_H

#include <stdint.h>

/**
 * A client or server that runs.
 */
typedef struct rp_proxy rp_proxy;

/**
 * Takes one line of the log, without an end of line, as UTF-8 that is valid until it returns. `level` is 1 for errors,
 * 2 for warnings, 3 for information, 4 and 5 for what helps to find faults. Called in the proxy's thread; it must not
 * call back into this library.
 */
typedef void (*rp_log_callback)(void *context, int32_t level, const char *text);

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * Starts a client: a local port that speaks HTTP and SOCKS, whose connections leave from the server. Returns as soon as
 * the port listens; a server that is not there yet is tried again and again.
 *
 * `settings` is a JSON object:
 *
 * - `"server"`: address of the server, with port: `"192.0.2.1:7377"`
 * - `"host-key"`: fingerprint of the server's key: `"SHA256:..."`
 * - `"identity"`: file with our private key, in OpenSSH format, not encrypted
 * - `"listen"`: address of the port (default `"127.0.0.1:1080"`; port 0 for any that is free)
 * - `"log"`: `"error"`, `"warn"`, `"info"` (default), `"debug"` or `"trace"`
 *
 * Returns NULL on failure; then `*error`, if `error` is not NULL, is a text to be freed with `rp_text_free`.
 * `log` may be NULL.
 *
 * # Safety
 * `settings` is a string that ends with a NUL. `error` is NULL or can be written to. `log` may be called with
 * `context` from another thread until `rp_proxy_stop` has returned.
 */
struct rp_proxy *rp_client_start(const char *settings,
                                 rp_log_callback log,
                                 void *context,
                                 char **error);

/**
 * Starts a server, which dials for clients what they ask for. Returns as soon as its port listens.
 *
 * `settings` is a JSON object:
 *
 * - `"listen"`: UDP address of the port (default `"0.0.0.0:7377"`; port 0 for any that is free)
 * - `"identity"`: file with the server's private key, in OpenSSH format, not encrypted
 * - `"authorized-keys"`: list of the fingerprints of the keys that are let in: `["SHA256:..."]`
 * - `"allow"`: list of networks that may be dialled although they are not public: `["10.0.0.0/8"]`
 * - `"deny"`: list of networks that must not be dialled
 * - `"log"`: as for a client
 *
 * Failure, `log`, `context` and `error` are as for `rp_client_start`.
 *
 * # Safety
 * As for `rp_client_start`.
 */
struct rp_proxy *rp_server_start(const char *settings, rp_log_callback log, void *context, char **error);

/**
 * The numbers of `proxy` at this moment, a JSON object, to be freed with `rp_text_free`; NULL if `proxy` is NULL.
 *
 * - `"state"`: `"up"`, `"connecting"` (a client without a connection), `"serving"`, or `"ended"` after a fault
 * - `"listen"`: the address it listens on
 * - `"key"`: the fingerprint of its own key
 * - `"sent"`, `"received"`: bytes relayed from its TCP connections to the other side, and back
 * - `"connected"`, `"denied"`, `"failed"`, `"active"`: requests so far, and those that last (0 at a client)
 *
 * # Safety
 * `proxy` is NULL or came from a start and was not stopped.
 */
char *rp_proxy_status(const struct rp_proxy *proxy);

/**
 * Stops `proxy`, waits until its thread has ended, and frees it. NULL is ignored. Connections that it carries are
 * reset.
 *
 * # Safety
 * `proxy` is NULL or came from a start, was not stopped, and nobody uses it meanwhile.
 */
void rp_proxy_stop(struct rp_proxy *proxy);

/**
 * Frees a text that a function of this library returned. NULL is ignored.
 *
 * # Safety
 * `text` is NULL or came from this library and was not freed.
 */
void rp_text_free(char *text);

/**
 * The version of this library, as `"0.1.0"`. It is not freed.
 */
const char *rp_version(void);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* RPPROXY_H */
