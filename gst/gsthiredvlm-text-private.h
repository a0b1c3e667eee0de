/* gsthiredvlm-text-private.h - shared by the text pad's queue and its task
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

#include "gst/gsthiredvlm-text.h"

G_BEGIN_DECLS

typedef enum {
  ITEM_EVENT,
  ITEM_GAP,
  ITEM_GAP_EXACT,
  ITEM_CUE,
} ItemKind;

/* start, end: ns of the segment, NONE if unknown. */
typedef struct {
  ItemKind kind;
  GstEvent *event;
  guint64 start, end;
  guint64 newest; /* gap: start of the newest frame in it */
  guint64 id;
  gboolean pending;      /* cue whose text is not known yet */
  gboolean floating;     /* cue that starts where the last ended, if later */
  gboolean unlimited;    /* floating cue: until the next, if in slices */
  gboolean repeat;       /* cue that says nothing new */
  GstStructure *caption; /* cue */
} TextItem;

void gst_hired_vlm_text_item_free (TextItem *item);

/* One turn of the task. */
void gst_hired_vlm_text_loop (GstHiredVlmText *text);

G_END_DECLS
