/* scheduler.h - the worker thread of an engine, its streams and its loads
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Private to engine/: engine.c, registry.c, loader.c and scheduler.c share
 * these structures. `lock` guards every member below it; no callback and no
 * work of the runner happens with it held. `wake` tells the worker of new
 * work and everyone else of an end.
 */
#pragma once

#include "engine/loader.h"
#include "engine/runner.h"

G_BEGIN_DECLS

typedef struct VlmRequest {
  VlmJob job; /* first: a job's address is its request's */
  VlmStream *stream;
  guint64 number;
  VlmRequestFuncs funcs;
  gpointer user_data;
  gboolean fetched; /* a release is owed */
} VlmRequest;

struct VlmStream {
  guint64 number;    /* from 1, of the engine */
  VlmEngine *engine; /* holds a reference that is not a sharer's */
  GQueue waiting;    /* VlmRequest, oldest first */
  VlmRequest *active;
  int ending; /* requests out of `waiting` whose done has not returned */
  guint64 last_number;
  gboolean closing;
};

struct VlmEngine {
  VlmRunner *runner;
  int refs, sharers; /* registry.c's, under its own lock */

  GMutex lock;
  GCond wake;
  GThread *worker; /* started by the first load or request */
  gboolean quit;
  VlmEngineState state;
  GError *error; /* why FAILED */
  VlmLoader loader;
  GPtrArray *streams; /* VlmStream, in turn order */
  guint64 last_stream;
  guint turn;        /* whose turn to begin a request is next */
  GPtrArray *active; /* VlmRequest begun; the worker's alone */
};

VlmEngine *vlm_scheduler_new (VlmRunner *runner); /* takes the runner */

/* Stops the worker. No stream is left. */
void vlm_scheduler_free (VlmEngine *engine);

/* With the lock held: starts the worker if there is none and wakes it. */
void vlm_scheduler_wake (VlmEngine *engine);

/* With the lock held: whether any request waits. */
gboolean vlm_scheduler_waiting (const VlmEngine *engine);

/* With the lock held, on the worker: ends waiting requests that were
 * cancelled; TRUE if there was one. The lock is given up meanwhile. */
gboolean vlm_scheduler_end_cancelled (VlmEngine *engine);

G_END_DECLS
