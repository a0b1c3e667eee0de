/* gsthiredvlm-settings.h - what the element's properties say
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * One plain struct, guarded by the element's object lock. A job copies what
 * it needs when it starts, so later changes meet the next job.
 */
#pragma once

#include <gst/gst.h>
#include "engine/engine.h"

G_BEGIN_DECLS

typedef enum {
  GST_HIRED_VLM_MODE_AUTO,
  GST_HIRED_VLM_MODE_SYNC,  /* video waits for its caption */
  GST_HIRED_VLM_MODE_ASYNC, /* video never waits */
} GstHiredVlmMode;

typedef enum {
  GST_HIRED_VLM_TIMING_AUTO,
  GST_HIRED_VLM_TIMING_FRAME,   /* captions at the time of their frame */
  GST_HIRED_VLM_TIMING_ARRIVAL, /* captions at the time they are ready */
} GstHiredVlmTiming;

typedef enum {
  GST_HIRED_VLM_ATTACH_NEW,
  GST_HIRED_VLM_ATTACH_ALWAYS,
  GST_HIRED_VLM_ATTACH_NONE,
} GstHiredVlmAttach;

typedef enum {
  GST_HIRED_VLM_BUDGET_FIXED,
  GST_HIRED_VLM_BUDGET_ADAPTIVE, /* what keeps up with the interval */
} GstHiredVlmBudgetMode;

typedef struct {
  /* the model: read when it is opened */
  gchar *model_path, *tower_path, *device;
  gint weights; /* VlmWeightType */
  guint threads;
  gboolean share_model;
  /* one description */
  gchar *prompt, *system_prompt;
  gboolean raw_prompt;
  gint policy;         /* index in vlm_policies */
  gboolean policy_set; /* else the model's own */
  gdouble token_budget, min_budget;
  gint budget_mode;            /* GstHiredVlmBudgetMode */
  GstStructure *policy_params; /* never NULL: a NULL cannot be serialised */
  gint positions;              /* VlmPositions */
  gint resampling;             /* VlmResampling */
  guint reuse;                 /* VlmReuse */
  guint max_tokens, top_k;
  gdouble temperature, top_p, repetition_penalty;
  guint64 seed;
  gchar **stop;                       /* or NULL */
  gint decode_attention, tidal_group; /* VlmDecodeAttention, VlmTidalGroup */
  gint tidal_tokens, tidal_reselect_layer, tidal_correct_every;
  /* which frames, and when */
  gint mode, timing; /* GstHiredVlmMode, GstHiredVlmTiming */
  guint64 interval;  /* ns; GST_CLOCK_TIME_NONE: only when asked */
  gdouble scene_threshold;
  guint64 caption_duration; /* ns; GST_CLOCK_TIME_NONE: automatic */
  guint64 text_refresh, latency, lateness;
  /* what is handed out */
  gboolean single_line;
  gchar *language;
  gint attach_meta; /* GstHiredVlmAttach */
  gboolean post_messages, post_partial, tags, detail, draw_tokens;
  gboolean analytics_meta;
  gchar **labels; /* or NULL */
} GstHiredVlmSettings;

void gst_hired_vlm_settings_init (GstHiredVlmSettings *settings);
void gst_hired_vlm_settings_clear (GstHiredVlmSettings *settings);

/* Fills one description's settings (already at the engine's defaults) and
 * gives it copies of all strings. `prompt` replaces the property if not NULL,
 * `budget` replaces token-budget. Fails if policy-params names no parameter of
 * the policy or goes out of its range. */
gboolean gst_hired_vlm_settings_task (const GstHiredVlmSettings *settings,
    const gchar *prompt, gdouble budget, VlmSettings *task, GError **error);

/* A list of strings (or NULL) from a GST_TYPE_ARRAY of them, and back. */
void gst_hired_vlm_settings_set_strings (gchar ***strings, const GValue *array);
void gst_hired_vlm_settings_get_strings (gchar *const *strings, GValue *array);

G_END_DECLS
