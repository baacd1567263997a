// What every driver in C shares: the parameters, the clock, the topics and the line it prints.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

static char **args;

static const char *text(const char *name, const char *otherwise) {
  size_t n = strlen(name);
  for (char **a = args; *a; a++) if (!strncmp(*a, name, n) && (*a)[n] == '=') return *a + n + 1;
  return otherwise;
}

static double number(const char *name, double otherwise) {
  const char *value = text(name, 0);
  return value ? atof(value) : otherwise;
}

static size_t size, topics, batch;
static double seconds;
static int port, secure;
static const char *job;
static char (*topic)[32];  // 26 characters, as the peer's
static uint8_t *payload;

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec / 1e9;
}

static double cpu(void) {
  struct rusage u;
  getrusage(RUSAGE_SELF, &u);
  return u.ru_utime.tv_sec + u.ru_stime.tv_sec + (u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static void setup(char **argv) {
  args = argv + 1;
  job = text("job", "receive");
  size = number("size", 16), topics = number("topics", 100), batch = number("batch", 1000);
  seconds = number("seconds", 1);
  const char *url = text("url", "");
  port = atoi(strrchr(url, ':') + 1);
  secure = !strncmp(url, "mqtts", 5);
  topic = malloc(topics * sizeof *topic);
  for (size_t i = 0; i < topics; i++) snprintf(topic[i], sizeof *topic, "bench/device/%07u/state", (unsigned)i % 10000000);
  payload = malloc(size + 1);
  memset(payload, 'x', size);
}

static double started, stopped, cpu_before, cpu_after;

static inline void start_meter(void) { cpu_before = cpu(), started = now(); }
static inline void stop_meter(void) { cpu_after = cpu(), stopped = now(); }

static double *times;
static size_t time_count, time_room;

static inline void add_time(double seconds) {
  if (time_count == time_room) times = realloc(times, (time_room = time_room ? time_room * 2 : 1 << 16) * sizeof *times);
  times[time_count++] = seconds;
}

static int by_size(const void *a, const void *b) {
  double d = *(const double *)a - *(const double *)b;
  return d < 0 ? -1 : d > 0;
}

static long peak_kib(void) {  // what getrusage says, Linux inherits from the parent
  char line[256];
  long kib = 0;
  FILE *status = fopen("/proc/self/status", "r");
  while (status && fgets(line, sizeof line, status)) if (sscanf(line, "VmHWM: %ld", &kib) == 1) return kib;
  struct rusage u;
  getrusage(RUSAGE_SELF, &u);
  return u.ru_maxrss;
}

static void report(uint64_t messages, uint64_t wrong) {
  printf("{\"messages\":%llu,\"wrong\":%llu,\"seconds\":%.6f,\"cpu\":%.6f,\"peak\":%ld", (unsigned long long)messages,
         (unsigned long long)wrong, stopped - started, cpu_after - cpu_before, peak_kib() * 1024);
  if (time_count) {  // without the warm-up
    double *steady = times + time_count / 4;
    size_t n = time_count - time_count / 4;
    qsort(steady, n, sizeof *steady, by_size);
    printf(",\"p50\":%.3f,\"p99\":%.3f", steady[n / 2] * 1e6, steady[n * 99 / 100] * 1e6);
  }
  puts("}");
  exit(0);
}

static inline void arrived(void) {  // the first message: whoever started us holds the clock
  puts("{}");
  exit(0);
}

__attribute__((noreturn)) static void fail(const char *key, const char *why) {
  printf("{\"%s\":\"%s\"}\n", key, why);
  exit(0);
}

#define JOB(name) (!strcmp(job, name))
