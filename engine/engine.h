/* engine.h - all that an application or gst/ needs: open, submit, text
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A VlmEngine is one model on one device: one scheduler thread (the worker)
 * owns the device and runs the requests of all streams in turn, their decode
 * steps in one batch. Every function here may be called from any thread.
 * Callbacks run on the worker with no lock held; they must return quickly and
 * may submit and cancel, but not free a stream nor drop the last reference to
 * the engine.
 */
#pragma once

#include <glib.h>
#include "engine/error.h"
#include "engine/image.h"
#include "engine/policy.h"
#include "engine/sampler.h"

G_BEGIN_DECLS

typedef struct VlmEngine VlmEngine;
typedef struct VlmStream VlmStream;

/* ---- opening ---- */

typedef enum {
  VLM_WEIGHTS_AUTO, /* f32 for small models; else bf16 where the device
                       multiplies it, and as stored where not */
  VLM_WEIGHTS_F32,
  VLM_WEIGHTS_BF16,
} VlmWeightType;

typedef struct {
  const char *path;   /* folder; NULL: the shipped model */
  const char *tower;  /* folder of the vision tower; NULL: in the other */
  const char *device; /* NULL or "auto", "cpu", "cuda", "cuda:N" */
  VlmWeightType weights;
  int threads;    /* 0: one per processor */
  gboolean share; /* join an engine already open with the same settings */
} VlmOpenOptions;

typedef enum {
  VLM_ENGINE_OPEN, /* checked, not loaded */
  VLM_ENGINE_LOADING,
  VLM_ENGINE_READY,
  VLM_ENGINE_FAILED,
} VlmEngineState;

/* Checks the folders and finds the device: cheap, every fault of settings,
 * files and device that can be seen now is reported now. With `share`, the
 * engine of the same canonical path, device and weight type is returned with
 * one more reference, whatever its state. */
VlmEngine *vlm_engine_open (const VlmOpenOptions *options, GError **error);
VlmEngine *vlm_engine_ref (VlmEngine *engine);
void vlm_engine_unref (VlmEngine *engine);

/* Folder of the shipped model, owned, or NULL if it is not installed. Looks
 * where the environment variable HIREDVLM_MODEL_DIR says, else where models
 * are installed: that folder itself, or `tiny` in it. */
char *vlm_engine_default_model (void);

/* Percent 0..100; at the end 100 and error NULL, or the error. */
typedef void (*VlmLoadFunc) (
    VlmEngine *engine, int percent, const GError *error, gpointer user_data);

/* Starts loading on the worker unless loading has begun or is done (after a
 * failure it tries again); `func` (may be NULL) is called as it proceeds, at
 * least once, and not after the end. It joins a load under way. Returns an id
 * for vlm_engine_load_leave. */
guint vlm_engine_load (VlmEngine *engine, VlmLoadFunc func, gpointer user_data);

/* After it returns, func is not called again. When the last one leaves a load
 * under way and no request waits for it, the load is cancelled and may be
 * started anew. */
void vlm_engine_load_leave (VlmEngine *engine, guint id);

VlmEngineState vlm_engine_state (VlmEngine *engine);

typedef struct {
  const char *model, *device, *weights; /* names; the engine's, constant */
  guint64 weight_bytes, cache_bytes;
  int sharers; /* references, those of streams not counted */
  int context; /* tokens a sequence may have */
  int batch;   /* sequences that decode together */
  int gpu;     /* number of the device; -1: the processor */
} VlmEngineInfo;

void vlm_engine_info (VlmEngine *engine, VlmEngineInfo *info);

/* ---- requests ---- */

/* What may be used of a stream's last request; the text is the same. */
typedef enum {
  VLM_REUSE_TILES = 1 << 0,  /* encoder states of tiles that did not change */
  VLM_REUSE_PREFIX = 1 << 1, /* the cache up to the first token that differs */
  VLM_REUSE_DRAFT = 1 << 2,  /* the last caption, proposed as the next one */
  VLM_REUSE_ALL = 7,
} VlmReuse;

/* What a new token attends to; prompts are always read in full. */
typedef enum {
  VLM_DECODE_FULL,  /* everything cached */
  VLM_DECODE_TIDAL, /* in most layers a chosen few (TidalDecode) */
} VlmDecodeAttention;

/* How the few are chosen; engine/tidal.h. */
typedef enum {
  VLM_TIDAL_KV,    /* for each key head, by its query heads together */
  VLM_TIDAL_QUERY, /* for each query head, as the authors' evaluation does */
  VLM_TIDAL_PAGES, /* whole cache pages for each key head */
} VlmTidalGroup;

#define VLM_TIDAL_KNOWN_LAYER (-1)
#define VLM_TIDAL_MIN_TOKENS 2

typedef struct {
  int tokens;         /* VLM_TIDAL_MIN_TOKENS or more */
  int reselect_layer; /* from 0; 0: none; or VLM_TIDAL_KNOWN_LAYER */
  VlmTidalGroup group;
  int correct_every; /* tokens after which those decoded since are read again
                        with full attention; 0: never */
} VlmTidalSettings;

/* Where visual tokens stand for the language model when others were dropped;
 * engine/places.h. */
typedef enum {
  VLM_POSITIONS_AUTO,   /* as the policy has it */
  VLM_POSITIONS_CLOSED, /* closed up */
  VLM_POSITIONS_WHOLE,  /* where they would if nothing had been dropped */
} VlmPositions;

typedef struct {
  char *prompt;            /* owned; NULL: the model's describe prompt */
  char *system_prompt;     /* owned, or NULL */
  gboolean raw_prompt;     /* prompt is the whole text with its <image> */
  const VlmPolicy *policy; /* NULL: the model's own, vlm_policy_of */
  double token_budget;     /* <= 1 share, > 1 number of tokens */
  double policy_param[VLM_POLICY_MAX_PARAMS]; /* policy NULL: of the first */
  VlmPositions positions;
  int max_tokens;
  VlmSampling sampling; /* repetition_penalty 0: as the model's
                           generation_config.json says */
  /* Owned NULL-terminated strings, or NULL. Generation ends when the decoded
   * text contains one; the text keeps it, as in transformers. */
  char **stop;
  VlmResampling resampling;
  VlmReuse reuse;
  VlmDecodeAttention decode_attention;
  VlmTidalSettings tidal;
  gboolean detail; /* fill the detail members of the result */
} VlmSettings;

/* Defaults: the model's policy (hired but for FlexAttention) at 0.2, greedy,
 * 128 tokens, all reuse, full attention (tidal: 256 tokens for each key head).
 */
void vlm_settings_init (VlmSettings *settings);
void vlm_settings_clear (VlmSettings *settings);

/* Another policy, with the defaults of its parameters. */
void vlm_settings_set_policy (VlmSettings *settings, const VlmPolicy *policy);

/* Asked of the owner when the turn of a request comes: the picture as it is
 * now, and the settings as they are now. */
typedef struct {
  VlmPicture picture; /* valid until the release callback */
  VlmSettings settings;
} VlmTask;

typedef struct {
  const char *text;   /* so far: valid UTF-8, whole characters */
  const char *prompt; /* as asked */
  const char *policy;
  const char *finish_reason; /* "eos", "length", "stop", "cancelled" */
  int image_tokens, image_tokens_kept; /* newlines included */
  int prompt_tokens; /* the sequence before the first new token */
  int tokens;        /* generated, the closing eos included */
  double token_budget;
  int tiles_reused;   /* not encoded again */
  int tokens_reused;  /* of the prompt, not read again */
  int tokens_drafted; /* of the text, taken from the last one */
  /* Microseconds: from submit to fetch; tiles, encoder and projector; the
   * prompt up to the first token; from fetch to the first token; from fetch
   * to the newest. */
  gint64 queue_us, vision_us, prefill_us, ttft_us, total_us;
  double tokens_per_second; /* after the first; 0 until there are two */
  /* filled if settings.detail, else NULL / 0 */
  const char *rendered_prompt;
  const int *prompt_ids; /* each image once, as its placeholder id */
  int n_prompt_ids;
  const int *token_ids;
  int grid[2]; /* rows, columns */
  const int *tile_budgets;
  int n_tiles;
  const int *kept_ids; /* of each row the token whose place it takes, -1 for
                        * a sum of several that has none */
  int n_kept;
  /* of each hierarchical layer of a FlexAttention model: fine tokens a new
   * token looked at, the mean so far, rounded */
  const int *layer_fine_tokens;
  int n_fine_layers;
  /* always: the mean over layers, 0 for other families */
  double fine_tokens;
  /* always: for pictures of the kept tokens */
  VlmTileGeometry geometry;
} VlmResult;

typedef struct {
  /* Fills *task (settings initialised to defaults); FALSE withdraws the
   * request: done is called with VLM_ERROR_CANCELLED, or with *error if set.
   */
  gboolean (*fetch) (VlmTask *task, gpointer user_data, GError **error);
  /* The pixels have been read; always called once after a fetch that gave
   * TRUE. May be NULL. */
  void (*release) (gpointer user_data);
  /* More text; at most once per step. May be NULL. */
  void (*text) (const VlmResult *so_far, gpointer user_data);
  /* The end, exactly once: a result, or an error and NULL. A request that is
   * cancelled ends with what it has if it has text (reason "cancelled"), else
   * with VLM_ERROR_CANCELLED. */
  void (*done) (
      const VlmResult *result, const GError *error, gpointer user_data);
} VlmRequestFuncs;

/* A stream is one user's line of requests: they run in order, one at a time;
 * streams take turns. */
VlmStream *vlm_stream_new (VlmEngine *engine);

/* Cancels everything, waits until no callback of the stream runs, frees. If
 * nothing of the stream runs, requests that wait end on the calling thread. */
void vlm_stream_free (VlmStream *stream);

/* Queues a request; loading is started if it was not. Returns its number,
 * from 1. funcs is copied. done is called even if the engine fails. */
guint64 vlm_stream_submit (
    VlmStream *stream, const VlmRequestFuncs *funcs, gpointer user_data);

/* Ends a request (0: all) within one token; done follows on the worker. */
void vlm_stream_cancel (VlmStream *stream, guint64 request);

/* Waits until the stream has no request and no callback runs. Not from a
 * callback. */
void vlm_stream_drain (VlmStream *stream);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (VlmEngine, vlm_engine_unref)
G_DEFINE_AUTOPTR_CLEANUP_FUNC (VlmStream, vlm_stream_free)

G_END_DECLS
