/* recall.c - what is kept of a stream's last request, as video repeats itself
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "engine/recall.h"

#include <string.h>

/* Tokens that a draft must agree with before it goes on. */
#define CONTEXT_TOKENS 2

static void
forget (VlmRecall *recall)
{
  vlm_sequence_clear (&recall->sequence);
  g_clear_pointer (&recall->ids, g_free);
  recall->n = 0;
  recall->image_rows = -1;
  if (recall->tiles)
    vlm_tile_cache_forget (recall->tiles);
  if (recall->caption)
    g_array_set_size (recall->caption, 0);
}

void
vlm_recall_clear (VlmRecall *recall)
{
  forget (recall);
  g_clear_pointer (&recall->tiles, vlm_tile_cache_free);
  g_clear_pointer (&recall->caption, g_array_unref);
  recall->stream = 0;
}

VlmRecall *
vlm_recall_enter (VlmRecall *recalls, int n, guint64 stream)
{
  VlmRecall *found = NULL;
  guint64 turn = 0;

  for (int i = 0; i < n; i++) {
    VlmRecall *recall = &recalls[i];

    turn = MAX (turn, recall->turn);
    if (recall->busy)
      continue;
    if (!found || recall->stream == stream ||
        (found->stream != stream && recall->turn < found->turn))
      found = recall;
  }
  if (!found)
    return NULL;
  if (found->stream != stream)
    forget (found);
  found->stream = stream;
  found->turn = turn + 1;
  found->busy = TRUE;
  found->same_picture = FALSE;
  if (!found->caption)
    found->caption = g_array_new (FALSE, FALSE, sizeof (int));
  return found;
}

void
vlm_recall_leave (VlmRecall *recall, VlmSequence *sequence, int n_prompt,
    const GArray *caption)
{
  vlm_sequence_truncate (sequence, n_prompt);
  vlm_sequence_clear (&recall->sequence);
  recall->sequence = *sequence;
  *sequence = (VlmSequence){ 0 };
  g_array_set_size (recall->caption, 0);
  if (caption->len)
    g_array_append_vals (recall->caption, caption->data, caption->len);
  recall->busy = FALSE;
}

void
vlm_recall_free_pages (VlmRecall *recalls, int n)
{
  for (int i = 0; i < n; i++)
    if (!recalls[i].busy)
      vlm_sequence_clear (&recalls[i].sequence);
}

void
vlm_recall_look (VlmRecall *recall, VlmVision *vision, const guint8 *tiles,
    const float *lut, int n_tiles)
{
  if (tiles && !recall->tiles)
    recall->tiles = vlm_tile_cache_new (vision);
  if (tiles && recall->tiles)
    vlm_tile_cache_look (recall->tiles, tiles, lut, n_tiles);
  else if (recall->tiles)
    vlm_tile_cache_forget (recall->tiles);
  recall->last_rows = recall->image_rows;
  recall->image_rows = -1;
}

void
vlm_recall_hear (VlmRecall *recall)
{
  recall->same_picture =
      recall->tiles && vlm_tile_cache_hear (recall->tiles, FALSE);
  if (recall->same_picture) /* else the cached rows are of another one */
    recall->image_rows = recall->last_rows;
}

/* ---- prefix ---- */

static gboolean
same_rows (
    const VlmRecall *recall, const VlmRecallPicture *picture, int image_rows)
{
  const VlmRecallPicture *last = &recall->picture;

  return recall->same_picture && image_rows == recall->image_rows &&
         picture->policy == last->policy && picture->budget == last->budget &&
         picture->in_place == last->in_place &&
         !memcmp (&picture->geometry, &last->geometry, sizeof last->geometry) &&
         !memcmp (picture->param, last->param, sizeof last->param);
}

/* Tokens, the picture's rows among them, in which two prompts agree. */
static int
count_alike (const VlmRecall *recall, const VlmPrompt *prompt,
    const VlmRecallPicture *picture, int image_rows)
{
  int at = prompt->image_at, n = 0;

  while (n < at && n < recall->n && recall->ids[n] == prompt->ids[n])
    n++;
  if (n < at || recall->image_at != at ||
      !same_rows (recall, picture, image_rows))
    return n;
  for (n = at + 1; n < prompt->n && n < recall->n; n++)
    if (recall->ids[n] != prompt->ids[n])
      break;
  return n - 1 + image_rows;
}

static void
remember_prompt (VlmRecall *recall, const VlmPrompt *prompt,
    const VlmRecallPicture *picture, int image_rows)
{
  g_free (recall->ids);
  recall->ids = g_memdup2 (prompt->ids, prompt->n * sizeof *prompt->ids);
  recall->n = prompt->n;
  recall->image_at = prompt->image_at;
  recall->image_rows = image_rows;
  recall->picture = *picture;
}

void
vlm_recall_prefix (VlmRecall *recall, const VlmPrompt *prompt,
    const VlmRecallPicture *picture, int image_rows, gboolean use,
    VlmSequence *sequence)
{
  int length = prompt->n - 1 + image_rows;
  int alike = use && recall->sequence.pool && recall->n
                  ? count_alike (recall, prompt, picture, image_rows)
                  : 0;

  if (recall->sequence.pool) {
    *sequence = recall->sequence;
    recall->sequence = (VlmSequence){ 0 };
    vlm_sequence_truncate (sequence, MIN (alike, length - 1));
  }
  remember_prompt (recall, prompt, picture, image_rows);
}

/* ---- draft ---- */

/* Where the last caption goes on after the end of ids, or -1: at the same
 * place if it is alike there, else after its first like passage. */
static int
find_place (const VlmRecall *recall, const GArray *ids)
{
  const int *old = (const int *) (gconstpointer) recall->caption->data;
  const int *now = (const int *) (gconstpointer) ids->data;
  int n_old = recall->caption->len, n = ids->len;
  int context = MIN (n, CONTEXT_TOKENS);
  gsize bytes = context * sizeof (int);

  if (n < n_old && !memcmp (old + n - context, now + n - context, bytes))
    return n;
  for (int at = context; at < n_old; at++)
    if (!memcmp (old + at - context, now + n - context, bytes))
      return at;
  return -1;
}

int
vlm_recall_draft (
    const VlmRecall *recall, const GArray *ids, int most, const int **draft)
{
  int at = find_place (recall, ids);

  if (at < 0)
    return 0;
  *draft = (const int *) (gconstpointer) recall->caption->data + at;
  return CLAMP (most, 0, (int) recall->caption->len - at);
}
