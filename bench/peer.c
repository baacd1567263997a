// A synthetic MQTT peer that costs almost nothing, so that what is measured is the client.
//
//   peer flood|sink|echo [size=16] [topics=100] [seconds=1] [messages=0] [raw=0] [qos=0] [version=4] [properties=0]
//       [cert=FILE.pem] [ws=0]
//
//   flood  after SUBSCRIBE to #: prebuilt PUBLISH packets for so many seconds (or messages), then
//          one on the topic "end", longer than the others, as u8-mqtt 0.6 overlooks a shorter
//          one there. raw=1: the end of the connection is the end.
//          At QoS 1 and 2 256 messages are on their way at a time, each until it is acknowledged.
//   sink   counts PUBLISH packets, and those whose payload is not `size` long; acknowledges those of QoS 1 and 2
//   echo   sends every PUBLISH back
//
// version=5: MQTT 5, and messages of the flood have so many user properties.
//
// Prints {"port":N}, then one line for each connection that ended; ends with its standard input.
// `cert` (key and certificate in one PEM file) makes it TLS, ws=1 a WebSocket with each packet in a frame of its own, as
// brokers send them; build with -DTLS -lssl -lcrypto.
// Connections may be many (idle): one thread each, blocking calls, no locks.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#ifdef TLS
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <openssl/ssl.h>
#endif

enum { WINDOW = 256 };  // messages of QoS 1 and 2 on their way at a time
enum { CHUNK = 128 * 1024, TOPIC = 26 };  // CHUNK: large writes out of the second-level cache

typedef struct {
  int fd;
#ifdef TLS
  SSL *ssl;
#endif
  uint8_t *read, head[14], mask[4];     // of a WebSocket: what was read, and the head of the frame under way
  size_t headed, left;                  // bytes of that head that have come, and of its payload that have not
  int closed;                           // whether its close frame has come
  uint8_t *in;                          // what was read and not yet taken: [at, end)
  size_t at, end, room;
  uint64_t messages, bytes, wrong;      // PUBLISH packets sent or received
  double first, last;
} Conn;

static char mode = 'f', *cert;
static size_t size = 16, topics = 100, packet;  // packet: the bytes of one PUBLISH, all alike
static double seconds = 1;
static uint64_t limit;
static int raw, qos, ws, version = 4, users;
static uint8_t properties[1024];  // of each PUBLISH of the flood: their length, and the user properties
static size_t propertied;
static uint8_t *prebuilt;
static size_t prebuilt_packets;
static uint8_t *last_packet;
static size_t last_length;
#ifdef TLS
static SSL_CTX *tls;
#endif

static void die(const char *what) { perror(what); exit(1); }

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec / 1e9;
}

static int send_all(Conn *c, const void *data, size_t n) {
  const uint8_t *p = data;
  while (n) {
    ssize_t k;
#ifdef TLS
    if (c->ssl) k = SSL_write(c->ssl, p, n);
    else
#endif
      k = send(c->fd, p, n, MSG_NOSIGNAL);
    if (k < 0 && errno == EINTR) continue;
    if (k <= 0) return 0;
    p += k, n -= k;
  }
  return 1;
}

static ssize_t receive(Conn *c, void *to, size_t n) {
  ssize_t k;
  do {
#ifdef TLS
    if (c->ssl) k = SSL_read(c->ssl, to, n);
    else
#endif
      k = recv(c->fd, to, n, 0);
  } while (k < 0 && errno == EINTR);
  return k;
}

// The head of a WebSocket's frame of n bytes; returns its length, at most 10.
static size_t put_head(uint8_t *p, size_t n) {
  size_t bytes = n < 126 ? 0 : n < 65536 ? 2 : 8;
  p[0] = 0x82, p[1] = bytes == 0 ? n : bytes == 2 ? 126 : 127;
  for (size_t i = 0; i < bytes; i++) p[2 + i] = n >> 8 * (bytes - 1 - i);
  return 2 + bytes;
}

// Sends whole packets, in one frame where there are frames.
static int send_packets(Conn *c, const void *data, size_t n) {
  uint8_t head[10];
  return (!ws || send_all(c, head, put_head(head, n))) && send_all(c, data, n);
}

// Takes the payloads out of a client's frames, up to a close frame. There is room for all.
static void unframe(Conn *c, const uint8_t *p, size_t n) {
  while (n && !c->closed) {
    if (c->left == 0) {
      c->head[c->headed++] = *p++, n--;
      int size = c->headed < 2 ? 2 : c->head[1] & 127;
      size_t bytes = c->headed < 2 ? 0 : size < 126 ? 0 : size == 126 ? 2 : 8;
      if (c->headed < 6 + bytes) continue;
      c->closed = (c->head[0] & 15) == 8;
      c->left = bytes ? 0 : size;
      for (size_t i = 0; i < bytes; i++) c->left = c->left << 8 | c->head[2 + i];
      memcpy(c->mask, c->head + 2 + bytes, 4);
      c->headed = 0;
      continue;
    }
    size_t k = n < c->left ? n : c->left, i = 0;
    uint8_t *to = c->in + c->end, mask[8];
    for (int j = 0; j < 8; j++) mask[j] = c->mask[j & 3];
    for (uint64_t word, m = *(uint64_t *)mask; i + 8 <= k; i += 8) memcpy(&word, p + i, 8), word ^= m, memcpy(to + i, &word, 8);
    for (; i < k; i++) to[i] = p[i] ^ mask[i & 3];
    for (int j = 0; j < 4; j++) c->mask[j] = mask[(j + k) & 3];
    c->end += k, c->left -= k, p += k, n -= k;
  }
}

static int fill(Conn *c) {  // reads more behind what is there; 0 at the end
  if (c->closed) return 0;
  if (c->at) memmove(c->in, c->in + c->at, c->end -= c->at), c->at = 0;
  if (c->end == c->room && !(c->in = realloc(c->in, c->room *= 2))) die("realloc");
  if (ws && !(c->read = realloc(c->read, c->room))) die("realloc");
  ssize_t k = receive(c, ws ? c->read : c->in + c->end, c->room - c->end);
  if (k <= 0) return 0;
  if (ws) unframe(c, c->read, k);
  else c->end += k;
  return 1;
}

#ifdef TLS
// Answers the request for a WebSocket; 0 if it is none.
static int open_websocket(Conn *c) {
  char request[4096], answer[256], *end = 0, *key;
  for (size_t n = 0; !end; request[n] = 0, end = strstr(request, "\r\n\r\n")) {
    ssize_t k = receive(c, request + n, sizeof request - 1 - n);
    if (k <= 0) return 0;
    n += k;
  }
  if (!(key = strcasestr(request, "sec-websocket-key: "))) return 0;
  key += 19;
  char text[64];
  unsigned char hash[SHA_DIGEST_LENGTH], accept[32];
  snprintf(text, sizeof text, "%.24s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key);
  SHA1((unsigned char *)text, strlen(text), hash);
  EVP_EncodeBlock(accept, hash, sizeof hash);
  int n = snprintf(answer, sizeof answer, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                   "Sec-WebSocket-Accept: %s\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n", accept);
  return send_all(c, answer, n);
}
#endif

static size_t put_publish(uint8_t *out, const char *topic, size_t payload, int qos) {
  uint8_t *p = out;
  size_t length = strlen(topic), id = qos ? 2 : 0, rest = 2 + length + id + propertied + payload;
  *p++ = 0x30 | qos << 1;
  for (; rest >= 128; rest >>= 7) *p++ = rest | 128;
  *p++ = rest, *p++ = 0, *p++ = length;
  memcpy(p, topic, length);
  p += length + id;
  memcpy(p, properties, propertied);
  memset(p + propertied, 'x', payload);
  return p + propertied + payload - out;
}

static uint8_t *put_ack(uint8_t *p, int type, int id) {
  *p++ = type << 4 | (type == 6 ? 2 : 0), *p++ = 2, *p++ = id >> 8, *p++ = id;
  return p;
}

// The variable byte integer at p; its bytes are counted into *n.
static size_t varint(const uint8_t *p, size_t *n) {
  size_t value = 0;
  for (int shift = 0;; shift += 7) {
    ++*n, value |= (size_t)(*p & 127) << shift;
    if (!(*p++ & 128)) return value;
  }
}

static void prebuild_properties(void) {
  static const char user[] = "\x26\0\4name\0\5value";
  size_t n = users * (sizeof user - 1), at = 0;
  if (n + 2 > sizeof properties) die("properties");
  if (n >= 128) properties[at++] = n | 128;
  properties[at++] = n >= 128 ? n >> 7 : n;
  for (int i = 0; i < users; i++) memcpy(properties + at, user, sizeof user - 1), at += sizeof user - 1;
  propertied = at;
}

static void prebuild(void) {  // whole cycles of the topics, at least CHUNK bytes
  if (version == 5) prebuild_properties();
  size_t all = 2 + TOPIC + (qos ? 2 : 0) + propertied + size;
  packet = 1 + all;
  for (size_t rest = all; rest; rest >>= 7) packet++;
  uint8_t head[10];
  size_t headed = ws ? put_head(head, packet) : 0;
  packet += headed;
  size_t cycles = (CHUNK + packet * topics - 1) / (packet * topics);
  prebuilt_packets = cycles * topics;
  if (!(prebuilt = malloc(prebuilt_packets * packet))) die("malloc");
  for (size_t i = 0; i < prebuilt_packets; i++) {
    char topic[32];
    snprintf(topic, sizeof topic, "bench/device/%07u/state", (unsigned)(i % topics) % 10000000);
    memcpy(prebuilt + i * packet, head, headed);
    put_publish(prebuilt + i * packet + headed, topic, size, qos);
  }
  if (!(last_packet = malloc(size + 128))) die("malloc");
  last_length = put_publish(last_packet, "end", size + 64, 0);
}

// The identifier of the message of that number, from 1 on.
static int id_of(uint64_t message) { return message % 65535 + 1; }

// Takes the acknowledgements that have come, each for the message that waits longest; 0 at the end.
static int take_acks(Conn *c, uint64_t *acknowledged, uint64_t *received) {
  uint8_t *out = malloc(4 * WINDOW), *p = out;
  if (!fill(c)) return free(out), 0;
  for (; c->end - c->at >= 4 && c->end - c->at >= 2u + c->in[c->at + 1]; c->at += 2 + c->in[c->at + 1]) {
    uint8_t *ack = c->in + c->at;
    int type = ack[0] >> 4, id = ack[2] << 8 | ack[3];
    if (type == 5) c->wrong += id != id_of((*received)++), p = put_ack(p, 6, id);
    else c->wrong += type != (qos == 1 ? 4 : 7) || id != id_of((*acknowledged)++);
  }
  int ok = p == out || send_packets(c, out, p - out);
  free(out);
  return ok;
}

// Messages that are acknowledged: WINDOW of them at a time.
static void flood_acknowledged(Conn *c) {
  uint64_t acknowledged = 0, received = 0;
  size_t place = packet - size - propertied - 2;
  c->first = now();
  for (int done = 0; !done || acknowledged < c->messages;) {
    size_t at = c->messages % prebuilt_packets, n = WINDOW - (c->messages - acknowledged);
    if (prebuilt_packets - at < n) n = prebuilt_packets - at;
    if (limit && limit - c->messages < n) n = limit - c->messages;
    if (!done && n) {
      for (size_t i = 0; i < n; i++) {
        int id = id_of(c->messages + i);
        uint8_t *p = prebuilt + (at + i) * packet + place;
        p[0] = id >> 8, p[1] = id;
      }
      if (!send_all(c, prebuilt + at * packet, n * packet)) return;
      c->messages += n, c->bytes += n * packet;
    }
    if (!take_acks(c, &acknowledged, &received)) return;
    c->last = now();
    done |= limit ? c->messages == limit : c->last - c->first >= seconds;
  }
  send_packets(c, last_packet, last_length);
}

static void flood(Conn *c) {
  if (qos) {
    flood_acknowledged(c);
    return;
  }
  size_t at = 0, chunk = packet > CHUNK ? 1 : CHUNK / packet;
  c->first = now();
  while (!limit || c->messages < limit) {
    size_t n = prebuilt_packets - at < chunk ? prebuilt_packets - at : chunk;
    if (limit && limit - c->messages < n) n = limit - c->messages;
    if (!send_all(c, prebuilt + at * packet, n * packet)) return;
    c->messages += n, c->bytes += n * packet;
    at = (at + n) % prebuilt_packets;
    c->last = now();
    if (!limit && c->last - c->first >= seconds) break;
  }
  if (!raw) send_packets(c, last_packet, last_length);
  else shutdown(c->fd, SHUT_WR);
}

// Takes every whole packet that was read; 0 when the connection is to end.
static int take(Conn *c) {
  uint64_t before = c->messages;
  size_t echo = 0;
  uint8_t *acks = malloc(c->end - c->at + 8), *ack = acks;
  for (;;) {
    size_t left = c->end - c->at, head = 1, rest = 0;
    uint8_t *p = c->in + c->at;
    int shift = 0, more = 1;
    while (more && head < left && shift < 28) {
      rest |= (size_t)(p[head] & 127) << shift;
      more = p[head++] & 128, shift += 7;
    }
    if (more || left < head + rest) break;
    c->at += head + rest;
    if (p[0] >> 4 == 3) {
      c->messages++;
      c->bytes += head + rest;
      int level = p[0] >> 1 & 3;
      size_t name = p[head] << 8 | p[head + 1], ahead = 2 + name + (level ? 2 : 0);
      if (version == 5) {
        size_t n = 0, length = varint(p + head + ahead, &n);
        ahead += n + length;
      }
      c->wrong += rest - ahead != size;
      if (level) ack = put_ack(ack, level == 1 ? 4 : 5, p[head + 2 + name] << 8 | p[head + 3 + name]);
      if (mode == 'e') echo += head + rest;
      continue;
    }
    if (echo && !send_packets(c, p - echo, echo)) return 0;
    echo = 0;
    switch (p[0] >> 4) {
      case 1: if (!send_packets(c, version == 5 ? "\x20\x03\0\0\0" : "\x20\x02\0\0", version)) return 0; break;
      case 6: ack = put_ack(ack, 7, p[head] << 8 | p[head + 1]); break;
      case 8: {  // one topic filter
        uint8_t granted[] = {0x90, version - 1, p[head], p[head + 1], 0, qos};
        if (version == 4) granted[4] = qos;
        if (!send_packets(c, granted, version + 1)) return 0;
        if (mode == 'f' && p[head + rest - 2] == '#' && !c->messages) flood(c);
        before = c->messages;
        break;
      }
      case 12: if (!send_packets(c, "\xd0\0", 2)) return 0; break;
      case 14: return 0;
    }
  }
  if (echo && !send_packets(c, c->in + c->at - echo, echo)) return 0;
  if (ack > acks && !send_packets(c, acks, ack - acks)) return 0;
  free(acks);
  if (c->messages > before) {
    c->last = now();
    if (!before) c->first = c->last;
  }
  return 1;
}

static void *serve(void *arg) {
  Conn *c = arg;
  c->room = mode == 'f' ? 1024 : CHUNK;
  if (!(c->in = malloc(c->room))) die("malloc");
#ifdef TLS
  if (tls) {
    c->ssl = SSL_new(tls);
    SSL_set_fd(c->ssl, c->fd);
    if (SSL_accept(c->ssl) != 1) goto end;
  }
  if (ws && !open_websocket(c)) goto end;
#endif
  while (fill(c) && take(c));
#ifdef TLS
end:
  if (c->ssl) SSL_shutdown(c->ssl), SSL_free(c->ssl);
#endif
  if (c->messages && mode != 'e') {  // nobody reads what 10,000 of them say
    printf("{\"messages\":%llu,\"bytes\":%llu,\"wrong\":%llu,\"seconds\":%.6f}\n", (unsigned long long)c->messages,
           (unsigned long long)c->bytes, (unsigned long long)c->wrong, c->last - c->first);
    fflush(stdout);
  }
  close(c->fd);
  free(c->in);
  free(c->read);
  free(c);
  return 0;
}

static void *watch_stdin(void *arg) {
  char b[64];
  while (read(0, b, sizeof b) > 0);
  exit(0);
  return arg;
}

int main(int argc, char **argv) {
  signal(SIGPIPE, SIG_IGN);
  if (argc > 1) mode = argv[1][0];
  for (int i = 2; i < argc; i++) {
    char *value = strchr(argv[i], '=');
    if (!value) continue;
    *value++ = 0;
    if (!strcmp(argv[i], "size")) size = strtoull(value, 0, 10);
    if (!strcmp(argv[i], "topics")) topics = strtoull(value, 0, 10);
    if (!strcmp(argv[i], "seconds")) seconds = atof(value);
    if (!strcmp(argv[i], "messages")) limit = strtoull(value, 0, 10);
    if (!strcmp(argv[i], "qos")) qos = atoi(value);
    if (!strcmp(argv[i], "version")) version = atoi(value);
    if (!strcmp(argv[i], "properties")) users = atoi(value);
    if (!strcmp(argv[i], "raw")) raw = atoi(value);
    if (!strcmp(argv[i], "cert")) cert = value;
    if (!strcmp(argv[i], "ws")) ws = atoi(value);
  }
#ifdef TLS
  if (cert) {
    tls = SSL_CTX_new(TLS_server_method());
    SSL_CTX_set_ciphersuites(tls, "TLS_AES_128_GCM_SHA256");  // the same work for every client
    if (SSL_CTX_use_certificate_chain_file(tls, cert) != 1 || SSL_CTX_use_PrivateKey_file(tls, cert, SSL_FILETYPE_PEM) != 1)
      die("cert");
  }
#else
  if (cert || ws) return fprintf(stderr, "built without TLS\n"), 2;
#endif
  if (mode == 'f') prebuild();

  int one = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
  struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t length = sizeof addr;
  if (bind(listener, (void *)&addr, length) || listen(listener, 1024)) die("listen");
  getsockname(listener, (void *)&addr, &length);
  printf("{\"port\":%d}\n", ntohs(addr.sin_port));
  fflush(stdout);

  pthread_t thread;
  pthread_attr_t attr;
  pthread_attr_init(&attr);
  pthread_attr_setstacksize(&attr, 128 * 1024);
  pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
  pthread_create(&thread, &attr, watch_stdin, 0);
  for (;;) {
    Conn *c = calloc(1, sizeof *c);
    if (!c || (c->fd = accept(listener, 0, 0)) < 0) die("accept");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (pthread_create(&thread, &attr, serve, c)) die("pthread_create");
  }
}
