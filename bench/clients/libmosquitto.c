// title: libmosquitto
// cc: -lmosquitto
// libmosquitto, its loop in the one thread there is.
#include "../driver.h"
#include <mosquitto.h>

enum { WINDOW = 256 };  // messages of QoS 1 and 2 on their way at a time
static uint64_t messages, wrong, sent;
static int connected, ended, qos;
static double before, deadline;

static void on_connect(struct mosquitto *m, void *arg, int code) {
  (void)m, (void)arg;
  connected = !code;
}

static void refill(struct mosquitto *m) {
  for (; sent - messages < batch; sent++) mosquitto_publish(m, 0, topic[sent % topics], size, payload, 0, 0);
}

static void on_publish(struct mosquitto *m, void *arg, int id) {
  (void)m, (void)arg, (void)id;
  messages++;
}

static void on_message(struct mosquitto *m, void *arg, const struct mosquitto_message *message) {
  (void)arg;
  if (JOB("echo")) {
    double t = now();
    add_time(t - before);
    wrong += (size_t)message->payloadlen != size;
    if (t > deadline) {
      ended = 1;
    } else {
      before = now();
      mosquitto_publish(m, 0, topic[0], size, payload, 0, 0);
    }
  } else if (JOB("relay")) {
    wrong += (size_t)message->payloadlen != size;
    messages++;
    if (sent - messages > batch / 2) return;
    if (now() > deadline) ended = sent == messages;
    else refill(m);
  } else if ((size_t)message->payloadlen == size) {
    if (++messages == 1) start_meter();
    if (JOB("start")) arrived();
  } else if (!strcmp(message->topic, "end")) {
    ended = 1;
  } else {
    wrong++;
  }
}

int main(int argc, char **argv) {
  (void)argc;
  setup(argv);
  if (JOB("idle") || JOB("routed") || JOB("awaited") || !number("read", 1)) fail("skip", "not a job of it");
  qos = number("qos", 0);
  mosquitto_lib_init();
  struct mosquitto *m = mosquitto_new(0, 1, 0);
  mosquitto_connect_callback_set(m, on_connect);
  mosquitto_message_callback_set(m, on_message);
  mosquitto_int_option(m, MOSQ_OPT_TCP_NODELAY, 1);
  mosquitto_int_option(m, MOSQ_OPT_SEND_MAXIMUM, WINDOW);
  if (secure) {
    mosquitto_tls_set(m, text("cert", ""), 0, 0, 0, 0);
    mosquitto_tls_insecure_set(m, 1);
  }
  if (mosquitto_connect(m, "127.0.0.1", port, 600)) fail("error", "connect");
  while (!connected) if (mosquitto_loop(m, 1000, 1)) fail("error", "loop");
  if (JOB("acknowledged")) {
    mosquitto_publish_callback_set(m, on_publish);
    start_meter();
    do {
      for (; sent - messages < WINDOW && now() - started < seconds; sent++)
        mosquitto_publish(m, 0, topic[sent % topics], size, payload, qos, 0);
      if (mosquitto_loop(m, 1000, 1)) fail("error", "loop");
    } while (messages < sent || now() - started < seconds);
    stop_meter();
    mosquitto_disconnect(m);
    report(messages, 0);
  }
  if (!JOB("publish")) mosquitto_subscribe(m, 0, "#", qos);

  if (JOB("publish")) {
    start_meter();
    do {
      for (size_t i = 0; i < batch; i++, sent++) {
        mosquitto_publish(m, 0, topic[sent % topics], size, payload, 0, 0);
        while (mosquitto_want_write(m)) mosquitto_loop_write(m, 1);
      }
      mosquitto_loop_misc(m);
    } while (now() - started < seconds);
    mosquitto_disconnect(m);
    while (mosquitto_want_write(m)) mosquitto_loop_write(m, 1);
    stop_meter();
    report(sent, 0);
  }
  if (JOB("echo") || JOB("relay")) {
    start_meter();
    deadline = started + seconds;
    if (JOB("relay")) {
      refill(m);
    } else {
      before = now();
      mosquitto_publish(m, 0, topic[0], size, payload, 0, 0);
    }
  }
  while (!ended) if (mosquitto_loop(m, 1000, 1)) fail("error", "loop");
  stop_meter();
  mosquitto_disconnect(m);
  report(JOB("echo") ? time_count : messages, wrong);
}
