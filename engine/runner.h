/* runner.h - the work of an engine: load a model, begin and step requests
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The scheduler (scheduler.c) knows threads, queues and turns and no model;
 * the runner knows the model and no thread. Everything but open, key, plan,
 * info and free is called on the worker alone. Tests put another runner in
 * place of this one to try the scheduler and the element without a model.
 */
#pragma once

#include "engine/decoder.h"
#include "engine/engine.h"

G_BEGIN_DECLS

typedef struct VlmRunner VlmRunner;

/* One request while it runs. The scheduler fills `task` and reads what
 * begin and step leave in the other members. */
typedef struct VlmJob VlmJob;
struct VlmJob {
  VlmTask task;
  guint64 stream;      /* number of its stream, from 1 */
  gint cancelled;      /* atomic: set by any thread, read by the runner */
  gint64 submitted_us; /* g_get_monotonic_time when it was queued */
  /* Begin or a step calls it once the pixels are read. */
  void (*read) (VlmJob *job);
  VlmResult result;  /* its pointers belong to `work` */
  gboolean decoding; /* past its prompt: another request may begin */
  gboolean grown;    /* the last step added text */
  gboolean ended;    /* the result is complete, or `error` is set */
  GError *error;     /* owned */
  gpointer work;     /* the runner's, released by vlm_runner_end */
};

/* Told percent done while loading; FALSE stops the load. */
typedef gboolean (*VlmProgressFunc) (int percent, gpointer user_data);

/* Reads and checks the folder options->path and opens the device. */
VlmRunner *vlm_runner_open (const VlmOpenOptions *options, GError **error);
void vlm_runner_free (VlmRunner *runner);

/* What makes two runners the same: canonical path, vision tower's path,
 * device, weight type. */
const char *vlm_runner_key (const VlmRunner *runner);

/* Settles context, batch and bytes; VLM_ERROR_NO_MEMORY with needed and free
 * bytes when they do not fit. Allocates nothing on the device. */
gboolean vlm_runner_plan (VlmRunner *runner, GError **error);

/* All but `sharers`, which is the registry's. */
void vlm_runner_info (const VlmRunner *runner, VlmEngineInfo *info);

/* Stopped by `progress` it fails with VLM_ERROR_CANCELLED; a failed load
 * leaves nothing behind and may be tried again. */
gboolean vlm_runner_load (VlmRunner *runner, VlmProgressFunc progress,
    gpointer user_data, GError **error);
void vlm_runner_unload (VlmRunner *runner);

/* Pixels, image encoder, policy, prompt: up to where the language model's
 * first step begins. job->task is filled. */
gboolean vlm_runner_begin (VlmRunner *runner, VlmJob *job, GError **error);

/* One step for all jobs begun and not ended: each gains a token, or several if
 * they were proposed and right, or none. */
void vlm_runner_step (VlmRunner *runner, VlmJob **jobs, int n);

/* Before a request ends that may not have got so far: has the pixels read. */
void vlm_runner_let_go (VlmRunner *runner, VlmJob *job);

/* Releases what begin took; also after a begin that failed. */
void vlm_runner_end (VlmRunner *runner, VlmJob *job);

/* For measuring without a scheduler: what a loaded runner works with. */
Device *vlm_runner_device (VlmRunner *runner);
VlmDecoder *vlm_runner_decoder (VlmRunner *runner);
const VlmTextConfig *vlm_runner_text (const VlmRunner *runner);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (VlmRunner, vlm_runner_free)

G_END_DECLS
