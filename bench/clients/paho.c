// title: Paho C
// cc: -lpaho-mqtt3cs
// Paho C, its callbacks in its own thread.
#include "../driver.h"
#include <MQTTClient.h>
#include <semaphore.h>

static MQTTClient client;
static sem_t done;
static uint64_t messages, wrong, sent;
static double before, deadline;

static void send_one(void) {
  while (MQTTClient_publish(client, topic[sent % topics], size, payload, 0, 0, 0)) {
    if (!MQTTClient_isConnected(client)) fail("error", "publish");
  }
  sent++;
}

static int on_message(void *arg, char *name, int length, MQTTClient_message *message) {
  (void)arg, (void)length;
  if (JOB("echo")) {
    double t = now();
    add_time(t - before);
    wrong += (size_t)message->payloadlen != size;
    if (t > deadline) sem_post(&done);
    else before = now(), sent = 0, send_one();
  } else if ((size_t)message->payloadlen == size) {
    if (++messages == 1) start_meter();
    if (JOB("start")) arrived();
  } else if (!strcmp(name, "end")) {
    sem_post(&done);
  } else {
    wrong++;
  }
  MQTTClient_freeMessage(&message);
  MQTTClient_free(name);
  return 1;
}

static void on_lost(void *arg, char *cause) {
  (void)arg, (void)cause;
  fail("error", "connection lost");
}

int main(int argc, char **argv) {
  (void)argc;
  setup(argv);
  if (JOB("idle") || JOB("routed") || JOB("awaited") || JOB("relay") || !number("read", 1)) fail("skip", "not a job of it");
  char url[64];
  snprintf(url, sizeof url, "%s://127.0.0.1:%d", secure ? "ssl" : "tcp", port);
  MQTTClient_SSLOptions ssl = MQTTClient_SSLOptions_initializer;
  ssl.enableServerCertAuth = 0;
  MQTTClient_connectOptions options = MQTTClient_connectOptions_initializer;
  options.keepAliveInterval = 600;
  if (secure) options.ssl = &ssl;
  sem_init(&done, 0, 0);
  MQTTClient_create(&client, url, "bench", MQTTCLIENT_PERSISTENCE_NONE, 0);
  MQTTClient_setCallbacks(client, 0, on_lost, on_message, 0);
  if (MQTTClient_connect(client, &options)) fail("error", "connect");

  if (JOB("publish")) {
    start_meter();
    do {
      for (size_t i = 0; i < batch; i++) send_one();
    } while (now() - started < seconds);
    MQTTClient_disconnect(client, 5000);
    stop_meter();
    report(sent, 0);
  }
  MQTTClient_subscribe(client, "#", 0);
  if (JOB("echo")) {
    start_meter();
    deadline = started + seconds;
    before = now();
    send_one();
  }
  sem_wait(&done);
  stop_meter();
  report(JOB("echo") ? time_count : messages, wrong);
}
