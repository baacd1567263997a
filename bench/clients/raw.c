// title: raw socket
// The socket alone, in C: what the machine can do.
#include "../driver.h"
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CHUNK = 64 * 1024 };

static int fd;

static void write_all(const void *data, size_t n) {
  for (const char *p = data; n;) {
    ssize_t k = send(fd, p, n, MSG_NOSIGNAL);
    if (k <= 0) fail("error", "send");
    p += k, n -= k;
  }
}

static void read_all(void *data, size_t n) {
  for (char *p = data; n;) {
    ssize_t k = recv(fd, p, n, 0);
    if (k <= 0) fail("error", "recv");
    p += k, n -= k;
  }
}

static size_t put_publish(uint8_t *out, const char *name) {
  uint8_t *p = out;
  size_t rest = 2 + strlen(name) + size;
  *p++ = 0x30;
  for (; rest >= 128; rest >>= 7) *p++ = rest | 128;
  *p++ = rest, *p++ = 0, *p++ = strlen(name);
  memcpy(p, name, strlen(name));
  memcpy(p + strlen(name), payload, size);
  return p + strlen(name) + size - out;
}

int main(int argc, char **argv) {
  (void)argc;
  setup(argv);
  if (secure) fail("skip", "no TLS on it");
  uint8_t *buffer = malloc(CHUNK + size + 64);
  size_t packet = put_publish(buffer, topic[0]);
  struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  fd = socket(AF_INET, SOCK_STREAM, 0);
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
  if (connect(fd, (void *)&addr, sizeof addr)) fail("error", "connect");
  write_all("\x10\x0f\0\4MQTT\4\2\2\x58\0\3raw", 17);
  read_all(buffer, 4);

  if (JOB("receive") && number("read", 1)) {
    write_all("\x82\6\0\1\0\1#\0", 8);
    read_all(buffer, 5);
    uint64_t bytes = 0;
    ssize_t n = recv(fd, buffer, CHUNK, 0);
    start_meter();
    for (; n > 0; n = recv(fd, buffer, CHUNK, 0)) bytes += n;
    stop_meter();
    report(bytes / packet, bytes % packet);
  }
  if (JOB("publish")) {
    size_t per_write = packet > CHUNK ? 1 : CHUNK / packet, cycles = (per_write + topics - 1) / topics;
    size_t count = cycles * topics, at = 0;
    uint8_t *prebuilt = malloc(count * packet);
    for (size_t i = 0; i < count; i++) put_publish(prebuilt + i * packet, topic[i % topics]);
    uint64_t messages = 0;
    start_meter();
    do {
      size_t n = count - at < per_write ? count - at : per_write;
      write_all(prebuilt + at * packet, n * packet);
      messages += n, at = (at + n) % count;
    } while (now() - started < seconds);
    stop_meter();
    write_all("\xe0\0", 2);
    report(messages, 0);
  }
  if (JOB("echo")) {
    uint8_t *sent = malloc(packet);
    put_publish(sent, topic[0]);
    start_meter();
    double before, after;
    do {
      before = now();
      write_all(sent, packet);
      read_all(buffer, packet);
      add_time((after = now()) - before);
    } while (after - started < seconds);
    stop_meter();
    report(time_count, 0);
  }
  if (JOB("start")) {
    write_all("\x82\6\0\1\0\1#\0", 8);
    read_all(buffer, 5 + packet);
    arrived();
  }
  fail("skip", "not a job of it");
}
