/* fake-engine.h - an engine without a model, for tests of what stands above
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Link tests/fake-engine.c before the engine library: it takes the place of
 * the runner (engine/runner.h), so that the real registry, loader, scheduler
 * and streams run over a model that sleeps and speaks as told. Any model path
 * opens; two opens of one path, device and weight type share when asked to.
 * Settings may be changed at any time from any thread.
 */
#pragma once

#include "engine/engine.h"

G_BEGIN_DECLS

/* An error to be given: code -1 is none. */
typedef struct {
  int code; /* VlmError */
  const char *message;
  VlmErrorDetails about; /* strings borrowed */
} FakeError;

typedef struct {
  gint64 load_us;   /* a load takes this long, in 100 steps */
  gint64 encode_us; /* from fetch to the first step */
  gint64 token_us;  /* a step; all requests begun share steps */
  int batch;        /* requests that may run together */
  int gpu;          /* what the model is on; -1: the processor */

  /* The caption; a token is a word with the space before it. It ends early,
   * with reason "length", after settings.max_tokens. */
  const char *text;
  /* If set, gives the caption instead (owned by the caller, g_free): sees the
   * pixels and the settings. Runs on the worker. */
  char *(*describe) (const VlmTask *task, gpointer user_data);
  gpointer describe_data;

  FakeError open_error;
  FakeError load_error;
  int load_error_percent;
  FakeError request_error;
  int request_error_first; /* requests begun from this number on fail, ... */
  int request_error_last;  /* ... up to this one; 1 is the first since reset */
} FakeConfig;

/* Defaults: nothing takes time, batch 4, "a red circle on the left", no
 * error. */
void fake_engine_config_init (FakeConfig *config);

/* Replaces the configuration. */
void fake_engine_configure (const FakeConfig *config);

/* Back to the defaults, counters to zero, not held. Between tests. */
void fake_engine_reset (void);

/* While held, the worker waits before each percent of a load, after a fetch
 * and before each token (a cancel of a request still gets through): for tests
 * that must not depend on time. */
void fake_engine_hold (gboolean hold);

/* Lets one more of these through while held. */
void fake_engine_let_one (void);

typedef struct {
  int opens;    /* runners opened, joined or not */
  int alive;    /* runners not yet freed: 0 at the end of a test */
  int loads;    /* begun */
  int loaded;   /* done without error */
  int percents; /* told by loads */
  int begun;    /* requests whose picture was fetched */
  int running;  /* begun and not ended */
  int most_running;
  int tokens;
  int picture_width, picture_height; /* of the newest request */
} FakeCounters;

void fake_engine_counters (FakeCounters *counters);

/* Waits until `counter` (a member of FakeCounters, by its offset) is at least
 * `value`; FALSE after ten seconds. */
gboolean fake_engine_wait (gsize counter, int value);
#define fake_engine_wait_for(member, value)                                    \
  fake_engine_wait (G_STRUCT_OFFSET (FakeCounters, member), value)

G_END_DECLS
