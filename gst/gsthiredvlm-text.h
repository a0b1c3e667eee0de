/* gsthiredvlm-text.h - the text pad: a queue of cues, gaps and events
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * One task is the only thread that pushes buffers and serialised events on
 * the pad, because a consumer like textoverlay may hold it for as long as a
 * cue is shown. All functions may be called from any thread, and do nothing
 * without a pad. Those that stop the task wait for it, and wait_room for it to
 * get on; the others never wait.
 *
 * With captions at the time of their frame, a cue is reserved in the queue
 * when its frame is chosen; whatever follows waits behind it until the cue is
 * filled or dropped. With captions at the time they are ready, the current
 * one is repeated in slices, so that a newer one can take its place soon.
 * Source: the behaviour of gstbasetextoverlay.c, which waits for the position
 * of the text stream and holds a cue until it ends.
 */
#pragma once

#include <gst/base/gstflowcombiner.h>
#include "gst/gsthiredvlm-caption.h"

G_BEGIN_DECLS

typedef struct {
  /* Held while the task is started or stopped, which the task never does;
   * `lock` is inside. */
  GMutex control;
  gboolean active; /* (control) the pad is */

  GMutex lock;
  GCond changed;
  GstPad *pad;  /* (control and lock) borrowed; NULL: not requested */
  GQueue items; /* TextItem */
  guint n_cues;
  gboolean flushing;
  GstFlowReturn flow; /* of the last push */

  /* how captions are timed; read when an item is pushed */
  gboolean arrival;
  guint64 refresh;  /* ns, slices of the current caption; 0: none */
  guint64 lateness; /* ns, added to the base of segments */
  guint64 film_end; /* position after the last frame; NONE: not known */
  gchar *language;

  guint64 n_buffers, n_lost;

  /* the task's own */
  GstHiredVlmFormat format;
  gboolean negotiated;
  GstSegment segment;
  guint64 position; /* end of what was pushed */
  gboolean discont; /* no buffer since the segment */
  /* the caption that is repeated in slices */
  GstStructure *current;
  gboolean shown;        /* pushed at least once */
  guint64 current_until; /* stream position; NONE: until replaced */
} GstHiredVlmText;

void gst_hired_vlm_text_init (GstHiredVlmText *text);
void gst_hired_vlm_text_clear (GstHiredVlmText *text);

/* The pad, before it is activated, and NULL when it goes. Its first events
 * (owned, or NULL) come before anything that others queue. */
void gst_hired_vlm_text_attach (GstHiredVlmText *text, GstPad *pad,
    GstEvent *stream_start, GstEvent *segment);

/* The pad is activated, or is no longer: starts or stops the task. The queue is
 * emptied when it stops. */
gboolean gst_hired_vlm_text_activate (GstHiredVlmText *text, gboolean active);
/* Stops it for a flush, which keeps what describes the stream; starts it again
 * if the pad is still active. */
void gst_hired_vlm_text_flush_start (GstHiredVlmText *text);
void gst_hired_vlm_text_flush_stop (GstHiredVlmText *text);
/* Wakes whoever waits and lets nothing more through, without waiting. */
void gst_hired_vlm_text_set_flushing (GstHiredVlmText *text);

void gst_hired_vlm_text_configure (GstHiredVlmText *text, gboolean arrival,
    guint64 refresh, guint64 lateness, const gchar *language);

/* Where the film ends, as far as is known (GST_CLOCK_TIME_NONE: it is not):
 * no cue that begins before it lasts longer. Cues still queued are cut too. */
void gst_hired_vlm_text_set_end (GstHiredVlmText *text, guint64 end);

/* Queues a serialised event (owned). Segments get the lateness and become
 * TIME segments, stream-starts an id of their own. */
void gst_hired_vlm_text_event (GstHiredVlmText *text, GstEvent *event);

/* Video has a frame from start to end (ns, end >= start): nothing else will
 * be said before `end`, except by reserved cues. */
void gst_hired_vlm_text_gap (GstHiredVlmText *text, guint64 start, guint64 end);
/* The same for streams that do not go forward. */
void gst_hired_vlm_text_gap_exact (
    GstHiredVlmText *text, guint64 start, guint64 end);

/* `frame` timing: a cue of number id will be filled later, at `start`. */
void gst_hired_vlm_text_reserve (
    GstHiredVlmText *text, guint64 id, guint64 start);
/* Fills it; the caption is copied, NULL drops the cue. */
void gst_hired_vlm_text_fill (GstHiredVlmText *text, guint64 id,
    const GstStructure *caption, guint64 duration);

/* The last caption holds on from `start`: its cue again, for formats that
 * show it. */
void gst_hired_vlm_text_repeat (GstHiredVlmText *text,
    const GstStructure *caption, guint64 start, guint64 duration);

/* `arrival` timing: a caption is ready while video is at `position`. It is
 * shown for `duration`, in slices until replaced if that is NONE (then
 * `single` is the duration without slices). */
void gst_hired_vlm_text_arrive (GstHiredVlmText *text,
    const GstStructure *caption, guint64 position, guint64 duration,
    guint64 single);

/* Waits while the queue is full; returns at once when flushing. */
void gst_hired_vlm_text_wait_room (GstHiredVlmText *text);

/* What the last push returned; GST_FLOW_OK without a pad. */
GstFlowReturn gst_hired_vlm_text_flow (GstHiredVlmText *text);
void gst_hired_vlm_text_reset_flow (GstHiredVlmText *text);
void gst_hired_vlm_text_counts (
    GstHiredVlmText *text, guint64 *n_buffers, guint64 *n_lost);

G_END_DECLS
