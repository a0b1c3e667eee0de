/* gsthiredvlm-private.h - the element's instance, for its own sources
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Threads: the streaming thread (chain, events), the engine's worker
 * (callbacks of requests and of the load), the text task, and whoever sets
 * properties or changes state. `settings` is guarded by the object lock,
 * everything marked (lock) by `lock`. Neither is held while a message is
 * posted, a signal emitted, or anything pushed. Order: object lock inside
 * `lock`, text lock innermost.
 */
#pragma once

#include "engine/engine.h"
#include "gst/gsthiredvlm-caption.h"
#include "gst/gsthiredvlm-cuda.h"
#include "gst/gsthiredvlm-frame.h"
#include "gst/gsthiredvlm-overlay.h"
#include "gst/gsthiredvlm-settings.h"
#include "gst/gsthiredvlm-text.h"
#include "gst/gsthiredvlm.h"

G_BEGIN_DECLS

GST_DEBUG_CATEGORY_EXTERN (gst_hired_vlm_debug);
#define GST_CAT_DEFAULT gst_hired_vlm_debug

/* Why a frame was passed on without a description. */
typedef enum {
  SKIP_INTERVAL,  /* not due */
  SKIP_BUSY,      /* a newer frame took its place */
  SKIP_UNCHANGED, /* looks like the last one described */
  SKIP_LOADING,   /* the model was not there yet */
  SKIP_TRICK,     /* reverse or trick-mode playback */
  SKIP_OUTSIDE,   /* not in the segment */
  N_SKIP
} SkipReason;

/* last, mean, max of a duration in ns */
typedef struct {
  guint64 last, max, sum, n;
} Spread;

typedef struct {
  guint64 in, described, failed, cancelled, skipped[N_SKIP];
  guint64 image_tokens, image_tokens_kept, tokens;
  guint64 tiles_reused, tokens_reused, tokens_drafted;
  gdouble fine_tokens; /* of the last description */
  gdouble tokens_per_second;
  Spread ttft, total, lag;
} Stats;

struct _GstHiredVlm {
  GstElement parent;
  GstPad *sinkpad, *srcpad, *textpad; /* textpad: (object lock) */

  GstHiredVlmSettings settings; /* (object lock) */
  gchar *last_caption;          /* (object lock) */
  guint64 max_observed_lag;     /* (object lock) */

  GMutex lock;
  GCond changed;
  GstFlowCombiner *combiner; /* (lock) */
  GstHiredVlmText text;

  /* the model; engine, stream and cuda change only in state
   * changes */
  VlmEngine *engine;
  VlmStream *stream;
  GstObject *cuda; /* its GPU's context, or NULL */
  guint load_id;
  gboolean reopen;  /* (object lock) settings of the model changed */
  gboolean loading; /* (lock) progress was started, not ended */
  gboolean error_posted, failed; /* (lock) failed: after the message */
  guint failures_in_row;         /* (lock) */

  /* the video stream: the streaming thread's, changed under lock */
  GstSegment segment;
  GstVideoInfo info;
  gboolean have_info, warned_pts;
  gchar *stream_id;
  /* in-band prompts (object lock): until replaced, for the next only */
  gchar *stream_prompt, *once_prompt;
  gboolean timing_known, live, sync, arrival;
  gboolean end_known;  /* of this segment: upstream was asked */
  guint64 position;    /* (lock) end of the newest frame, segment time */
  guint32 seek_seqnum; /* (object lock) last seek sent upstream */

  /* which frame (lock) */
  GstHiredVlmFrame *slot; /* waits for the engine */
  GstHiredVlmFrame *job;  /* being described, until its `done` is over */
  gboolean ticket;        /* a request will fetch the slot */
  gboolean flushing, stopping, draining;
  guint epoch;
  guint64 next_id, next_seq;
  guint64 last_start;     /* running time of the frame last described */
  GQueue wishes;          /* GstHiredVlmWish */
  GstHiredVlmFrame *held; /* the newest, passed on; see keep_newest */
  gboolean asked;         /* the action `describe` was used */
  gboolean ended;         /* no frame will follow */
  GstHiredVlmThumb thumb; /* streaming thread's */

  /* the worker's */
  GstHiredVlmPixels pixels;
  gint64 partial_us; /* monotonic time of the last partial message */

  /* what was said (lock) */ GstStructure *fresh,
      *newest;                         /* not yet attached; the last one */
  GstVideoOverlayComposition *overlay; /* kept tokens of the last one */
  guint64 slowest; /* ns, longest description, for latency */
  gdouble budget;  /* token budget of adaptive mode; 0: unset */
  Stats stats;
};

/* ---- gsthiredvlm-properties.c ---- */

void gst_hired_vlm_install_properties (GObjectClass *klass);

/* ---- gsthiredvlm-preset.c ---- */

/* Of the interface GstPreset. */
void gst_hired_vlm_preset_init (gpointer iface, gpointer data);

/* ---- gsthiredvlm-enums.c ---- */

GType gst_hired_vlm_mode_get_type (void);
GType gst_hired_vlm_timing_get_type (void);
GType gst_hired_vlm_attach_get_type (void);
GType gst_hired_vlm_weights_get_type (void);
GType gst_hired_vlm_positions_get_type (void);
GType gst_hired_vlm_resampling_get_type (void);
GType gst_hired_vlm_reuse_get_type (void);
GType gst_hired_vlm_policy_get_type (void);
GType gst_hired_vlm_decode_attention_get_type (void);
GType gst_hired_vlm_tidal_group_get_type (void);
GType gst_hired_vlm_budget_mode_get_type (void);

/* ---- gsthiredvlm-model.c ---- */

/* Opens the folder; posts the error itself. */
gboolean gst_hired_vlm_model_open (GstHiredVlm *self);
void gst_hired_vlm_model_close (GstHiredVlm *self);
/* Begins to load in the background, with PROGRESS messages. */
gboolean gst_hired_vlm_model_start (GstHiredVlm *self);
/* Cancels what runs and waits until the worker has let go of the element. */
void gst_hired_vlm_model_stop (GstHiredVlm *self);

/* ---- gsthiredvlm-error.c ---- */

/* The structure "hiredvlm/error", owned: docs/pipelines.md has its fields. */
GstStructure *gst_hired_vlm_error_new (
    const gchar *cause, const gchar *message);
GstStructure *gst_hired_vlm_error_of (const GError *error);
/* One ERROR message, whoever comes first; then chain fails. */
void gst_hired_vlm_fail (GstHiredVlm *self, const GError *error);
/* A WARNING: a description failed, so many in a row. */
void gst_hired_vlm_warn (
    GstHiredVlm *self, const GError *error, guint64 timestamp, guint in_row);

/* ---- gsthiredvlm-context.c ---- */

/* A model of these settings from the application or a neighbour, with a
 * reference, or NULL. */
VlmEngine *gst_hired_vlm_context_find (
    GstHiredVlm *self, const VlmOpenOptions *options);
/* Tells that one was opened. */
void gst_hired_vlm_context_offer (
    GstHiredVlm *self, const VlmOpenOptions *options, VlmEngine *engine);
/* Answers a CONTEXT query about models; FALSE if it is about something else
 * or there is none to share. */
gboolean gst_hired_vlm_context_query (GstHiredVlm *self, GstQuery *query);

/* ---- gsthiredvlm-describe.c ---- */

/* Decides whether this buffer is described, and in sync mode waits until it
 * is. Streaming thread. */
void gst_hired_vlm_consider (
    GstHiredVlm *self, GstBuffer *buffer, guint64 timestamp, guint64 duration);
/* Waits until nothing is described or waits; FALSE if broken off. */
gboolean gst_hired_vlm_drain (GstHiredVlm *self);
/* Drops the waiting frame, cancels the running one; lock must not be held. */
void gst_hired_vlm_cancel (GstHiredVlm *self);
/* Puts the frame (taken) where the worker looks for it and submits a request
 * unless one is on its way. Lock held. */
void gst_hired_vlm_place (GstHiredVlm *self, GstHiredVlmFrame *frame);
/* Whether the segment is played as descriptions need it. */
gboolean gst_hired_vlm_is_trick (const GstSegment *segment);

/* ---- gsthiredvlm-wish.c ---- */

/* Takes the wish: of the next frame, or of the newest if it says `now`. */
void gst_hired_vlm_wish (GstHiredVlm *self, GstHiredVlmWish *wish);
/* The frame gets the first wish whose time has come. Lock held. */
void gst_hired_vlm_take_wish (GstHiredVlm *self, GstHiredVlmFrame *frame);
/* Describes the newest frame if a wish waits for it. Lock held. */
void gst_hired_vlm_grant (GstHiredVlm *self);
/* A frame is passed on: holds on to it where none may follow soon. */
void gst_hired_vlm_keep_newest (
    GstHiredVlm *self, GstBuffer *buffer, guint64 timestamp, guint64 duration);
/* Answers all that wait with an error. */
void gst_hired_vlm_refuse_wishes (GstHiredVlm *self, const gchar *why);
/* No frame will follow. */
void gst_hired_vlm_end_wishes (GstHiredVlm *self);
/* The action signal. */
void gst_hired_vlm_describe_now (
    GstHiredVlm *self, const gchar *prompt, GstPromise *promise);

/* ---- gsthiredvlm-request.c ---- */

extern const VlmRequestFuncs gst_hired_vlm_request_funcs;
/* Answers a wish, if there is one, with a caption or an error (taken). */
void gst_hired_vlm_wish_answer (GstHiredVlmWish *wish, GstStructure *reply);

/* ---- gsthiredvlm-events.c ---- */

gboolean gst_hired_vlm_sink_event (
    GstPad *pad, GstObject *parent, GstEvent *event);
gboolean gst_hired_vlm_src_event (
    GstPad *pad, GstObject *parent, GstEvent *event);
gboolean gst_hired_vlm_sink_query (
    GstPad *pad, GstObject *parent, GstQuery *query);
gboolean gst_hired_vlm_src_query (
    GstPad *pad, GstObject *parent, GstQuery *query);
gboolean gst_hired_vlm_text_query (
    GstPad *pad, GstObject *parent, GstQuery *query);

/* ---- gsthiredvlm-textpad.c ---- */

GstPad *gst_hired_vlm_request_pad (GstElement *element,
    GstPadTemplate *template, const gchar *name, const GstCaps *caps);
void gst_hired_vlm_release_pad (GstElement *element, GstPad *pad);
GstIterator *gst_hired_vlm_internal_links (GstPad *pad, GstObject *parent);
/* Hands the settings that concern it to the text pad. */
void gst_hired_vlm_configure_text (GstHiredVlm *self);
/* Sends the segment again, because its base changed. */
void gst_hired_vlm_restart_text (GstHiredVlm *self);

/* ---- gsthiredvlm-budget.c ---- */

/* The token budget of the next description. */
gdouble gst_hired_vlm_budget (GstHiredVlm *self);
/* A description with this budget took `total` ns. */
void gst_hired_vlm_budget_learn (
    GstHiredVlm *self, gdouble budget, guint64 total);

/* ---- gsthiredvlm-stats.c ---- */

GstStructure *gst_hired_vlm_stats (GstHiredVlm *self);
/* Lock held. */
void gst_hired_vlm_stats_described (
    GstHiredVlm *self, const VlmResult *result, guint64 lag);

/* ---- gsthiredvlm-attach.c ---- */

/* The buffer (taken) with the caption and the overlay that it is due. */
GstBuffer *gst_hired_vlm_attach (GstHiredVlm *self, GstBuffer *buffer);
/* Forgets both. Lock held. */
void gst_hired_vlm_attach_reset (GstHiredVlm *self);

/* ---- gsthiredvlm.c ---- */

extern guint gst_hired_vlm_signal_caption;
/* A description came or changed: the property `last-caption`. */
void gst_hired_vlm_set_last_caption (GstHiredVlm *self, const gchar *text);
/* Promised latency was exceeded: warning, once per new maximum. */
void gst_hired_vlm_note_lag (GstHiredVlm *self, guint64 lag);

G_END_DECLS
