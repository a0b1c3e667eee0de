/* gsthiredvlm-text.c - the queue of the text pad
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "gst/gsthiredvlm-text.h"
#include "gst/gsthiredvlm-text-private.h"

/* More cues than any downstream queue has frames: who gets here is stuck. */
#define MAX_CUES 256

void
gst_hired_vlm_text_init (GstHiredVlmText *text)
{
  g_mutex_init (&text->control);
  g_mutex_init (&text->lock);
  g_cond_init (&text->changed);
  g_queue_init (&text->items);
  text->flushing = TRUE;
  text->refresh = 500 * GST_MSECOND;
  gst_segment_init (&text->segment, GST_FORMAT_TIME);
  text->position = GST_CLOCK_TIME_NONE;
  text->film_end = GST_CLOCK_TIME_NONE;
  text->current_until = GST_CLOCK_TIME_NONE;
}

void
gst_hired_vlm_text_item_free (TextItem *item)
{
  if (item == NULL)
    return;
  g_clear_pointer (&item->event, gst_event_unref);
  gst_clear_structure (&item->caption);
  g_free (item);
}

/* Events that outlive a flush: stream-start, tags, but no segment. */
static gboolean
outlives_flush (const TextItem *item)
{
  return item->kind == ITEM_EVENT && GST_EVENT_IS_STICKY (item->event) &&
         GST_EVENT_TYPE (item->event) != GST_EVENT_SEGMENT &&
         GST_EVENT_TYPE (item->event) != GST_EVENT_EOS;
}

/* Lock held. */
static void
empty (GstHiredVlmText *text, gboolean flush)
{
  GQueue kept = G_QUEUE_INIT;
  TextItem *item;

  while ((item = g_queue_pop_head (&text->items))) {
    if (flush && outlives_flush (item))
      g_queue_push_tail (&kept, item);
    else
      gst_hired_vlm_text_item_free (item);
  }
  text->items = kept;
  text->n_cues = 0;
  gst_clear_structure (&text->current);
  text->shown = TRUE;
}

void
gst_hired_vlm_text_clear (GstHiredVlmText *text)
{
  empty (text, FALSE);
  g_free (text->language);
  g_mutex_clear (&text->lock);
  g_mutex_clear (&text->control);
  g_cond_clear (&text->changed);
}

static TextItem *
item_new (ItemKind kind, guint64 start, guint64 end)
{
  TextItem *item = g_new0 (TextItem, 1);

  item->kind = kind;
  item->start = start;
  item->newest = start;
  item->end = end;
  return item;
}

/* Lock held; takes the event, which may be NULL. */
static void
first_event (GstHiredVlmText *text, GstEvent *event)
{
  TextItem *item;

  if (event == NULL)
    return;
  item = item_new (ITEM_EVENT, 0, 0);
  item->event = event;
  g_queue_push_tail (&text->items, item);
}

void
gst_hired_vlm_text_attach (GstHiredVlmText *text, GstPad *pad,
    GstEvent *stream_start, GstEvent *segment)
{
  g_mutex_lock (&text->control);
  g_mutex_lock (&text->lock);
  empty (text, FALSE);
  text->active = FALSE;
  text->pad = pad;
  text->flushing = TRUE;
  text->flow = GST_FLOW_OK;
  text->negotiated = FALSE;
  text->position = GST_CLOCK_TIME_NONE;
  first_event (text, stream_start);
  first_event (text, segment);
  g_mutex_unlock (&text->lock);
  g_mutex_unlock (&text->control);
}

void
gst_hired_vlm_text_set_flushing (GstHiredVlmText *text)
{
  g_mutex_lock (&text->lock);
  text->flushing = TRUE;
  g_cond_broadcast (&text->changed);
  g_mutex_unlock (&text->lock);
}

/* Control held. */
static gboolean
start (GstHiredVlmText *text)
{
  g_mutex_lock (&text->lock);
  text->flushing = FALSE;
  text->flow = GST_FLOW_OK;
  g_mutex_unlock (&text->lock);
  return text->pad == NULL ||
         gst_pad_start_task (
             text->pad, (GstTaskFunction) gst_hired_vlm_text_loop, text, NULL);
}

/* Control held. */
static gboolean
stop (GstHiredVlmText *text, gboolean flush)
{
  gboolean stopped;

  gst_hired_vlm_text_set_flushing (text);
  stopped = text->pad == NULL || gst_pad_stop_task (text->pad);
  g_mutex_lock (&text->lock);
  empty (text, flush);
  text->position = GST_CLOCK_TIME_NONE;
  g_mutex_unlock (&text->lock);
  return stopped;
}

gboolean
gst_hired_vlm_text_activate (GstHiredVlmText *text, gboolean active)
{
  gboolean done;

  g_mutex_lock (&text->control);
  text->active = active;
  done = active ? start (text) : stop (text, FALSE);
  g_mutex_unlock (&text->control);
  return done;
}

void
gst_hired_vlm_text_flush_start (GstHiredVlmText *text)
{
  g_mutex_lock (&text->control);
  stop (text, TRUE);
  g_mutex_unlock (&text->control);
}

void
gst_hired_vlm_text_flush_stop (GstHiredVlmText *text)
{
  g_mutex_lock (&text->control);
  if (text->active)
    start (text);
  g_mutex_unlock (&text->control);
}

void
gst_hired_vlm_text_configure (GstHiredVlmText *text, gboolean arrival,
    guint64 refresh, guint64 lateness, const gchar *language)
{
  g_mutex_lock (&text->lock);
  text->arrival = arrival;
  text->refresh = refresh;
  text->lateness = lateness;
  if (g_strcmp0 (language, text->language) != 0) {
    g_free (text->language);
    text->language = g_strdup (language);
  }
  g_mutex_unlock (&text->lock);
}

void
gst_hired_vlm_text_set_end (GstHiredVlmText *text, guint64 end)
{
  g_mutex_lock (&text->lock);
  text->film_end = end;
  g_mutex_unlock (&text->lock);
}

/* Lock held; takes the item. */
static void
append (GstHiredVlmText *text, TextItem *item)
{
  if (text->pad == NULL || text->flushing) {
    gst_hired_vlm_text_item_free (item);
    return;
  }
  if (item->kind == ITEM_CUE)
    text->n_cues++;
  g_queue_push_tail (&text->items, item);
  g_cond_broadcast (&text->changed);
}

/* Lock held. Makes room for one more by letting go of the oldest. */
static void
limit_cues (GstHiredVlmText *text)
{
  for (GList *l = text->items.head; l && text->n_cues >= MAX_CUES;) {
    TextItem *item = l->data;
    GList *next = l->next;

    if (item->kind == ITEM_CUE && !item->pending) {
      g_queue_delete_link (&text->items, l);
      gst_hired_vlm_text_item_free (item);
      text->n_cues--;
      text->n_lost++;
    }
    l = next;
  }
}

void
gst_hired_vlm_text_event (GstHiredVlmText *text, GstEvent *event)
{
  TextItem *item = item_new (ITEM_EVENT, 0, 0);

  item->event = event;
  g_mutex_lock (&text->lock);
  append (text, item);
  g_mutex_unlock (&text->lock);
}

void
gst_hired_vlm_text_gap (GstHiredVlmText *text, guint64 start, guint64 end)
{
  TextItem *tail;

  if (!GST_CLOCK_TIME_IS_VALID (start))
    return;
  g_mutex_lock (&text->lock);
  tail = g_queue_peek_tail (&text->items);
  if (tail && tail->kind == ITEM_GAP && start >= tail->newest) {
    tail->newest = start;
    tail->end = MAX (tail->end, end);
  } else {
    append (text, item_new (ITEM_GAP, start, end));
  }
  g_mutex_unlock (&text->lock);
}

void
gst_hired_vlm_text_gap_exact (GstHiredVlmText *text, guint64 start, guint64 end)
{
  if (!GST_CLOCK_TIME_IS_VALID (start))
    return;
  g_mutex_lock (&text->lock);
  append (text, item_new (ITEM_GAP_EXACT, start, end));
  g_mutex_unlock (&text->lock);
}

void
gst_hired_vlm_text_reserve (GstHiredVlmText *text, guint64 id, guint64 start)
{
  TextItem *item = item_new (ITEM_CUE, start, start);

  item->id = id;
  item->pending = TRUE;
  g_mutex_lock (&text->lock);
  limit_cues (text);
  append (text, item);
  g_mutex_unlock (&text->lock);
}

void
gst_hired_vlm_text_fill (GstHiredVlmText *text, guint64 id,
    const GstStructure *caption, guint64 duration)
{
  g_mutex_lock (&text->lock);
  for (GList *l = text->items.head; l; l = l->next) {
    TextItem *item = l->data;

    if (item->kind != ITEM_CUE || item->id != id || !item->pending)
      continue;
    item->pending = FALSE;
    if (caption) {
      item->caption = gst_structure_copy (caption);
      if (GST_CLOCK_TIME_IS_VALID (item->start))
        item->end = item->start + duration;
    } else {
      g_queue_delete_link (&text->items, l);
      gst_hired_vlm_text_item_free (item);
      text->n_cues--;
    }
    g_cond_broadcast (&text->changed);
    break;
  }
  g_mutex_unlock (&text->lock);
}

void
gst_hired_vlm_text_repeat (GstHiredVlmText *text, const GstStructure *caption,
    guint64 start, guint64 duration)
{
  TextItem *item = item_new (ITEM_CUE, start, start + duration);

  item->repeat = TRUE;
  item->caption = gst_structure_copy (caption);
  g_mutex_lock (&text->lock);
  limit_cues (text);
  append (text, item);
  g_mutex_unlock (&text->lock);
}

void
gst_hired_vlm_text_arrive (GstHiredVlmText *text, const GstStructure *caption,
    guint64 position, guint64 duration, guint64 single)
{
  TextItem *item = item_new (ITEM_CUE, position, position + single);

  if (GST_CLOCK_TIME_IS_VALID (duration))
    item->end = position + duration;
  item->unlimited = !GST_CLOCK_TIME_IS_VALID (duration);
  item->floating = TRUE;
  item->caption = gst_structure_copy (caption);
  g_mutex_lock (&text->lock);
  limit_cues (text);
  append (text, item);
  g_mutex_unlock (&text->lock);
}

void
gst_hired_vlm_text_wait_room (GstHiredVlmText *text)
{
  g_mutex_lock (&text->lock);
  while (text->pad && !text->flushing && text->n_cues >= MAX_CUES)
    g_cond_wait (&text->changed, &text->lock);
  g_mutex_unlock (&text->lock);
}

GstFlowReturn
gst_hired_vlm_text_flow (GstHiredVlmText *text)
{
  GstFlowReturn flow;

  g_mutex_lock (&text->lock);
  flow = text->pad && !text->flushing ? text->flow : GST_FLOW_OK;
  g_mutex_unlock (&text->lock);
  return flow;
}

void
gst_hired_vlm_text_reset_flow (GstHiredVlmText *text)
{
  g_mutex_lock (&text->lock);
  text->flow = GST_FLOW_OK;
  g_mutex_unlock (&text->lock);
}

void
gst_hired_vlm_text_counts (
    GstHiredVlmText *text, guint64 *n_buffers, guint64 *n_lost)
{
  g_mutex_lock (&text->lock);
  *n_buffers = text->n_buffers;
  *n_lost = text->n_lost;
  g_mutex_unlock (&text->lock);
}
