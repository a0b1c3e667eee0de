/* recall.h - what is kept of a stream's last request, as video repeats itself
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 *   tiles   those whose pixels did not change keep their encoder states
 *   prefix  keys and values stay up to the first token that differs
 *   draft   the last caption is proposed as the next one and verified in
 *           steps of many tokens, those kept being the ones that would have
 *           been generated (Leviathan et al., "Fast Inference from
 *           Transformers via Speculative Decoding", 2023)
 *
 * A text is the same with and without. There are as many of these as
 * sequences that decode together; a stream that finds none of its own takes
 * over the one that was longest out of use. The worker's alone.
 */
#pragma once

#include "engine/decoder.h"
#include "engine/engine.h"
#include "engine/prompt.h"
#include "engine/vision.h"

G_BEGIN_DECLS

/* What a prompt's keys and values were made of. The picture's rows are the
 * same if the tiles are, and this is. */
typedef struct {
  VlmTileGeometry geometry;
  const VlmPolicy *policy;
  double budget;
  double param[VLM_POLICY_MAX_PARAMS];
  gboolean in_place;
} VlmRecallPicture;

typedef struct {
  guint64 stream; /* whose; 0: nobody's */
  guint64 turn;   /* grows: the least is longest out of use */
  gboolean busy;  /* a request of the stream is under way */

  VlmTileCache *tiles;   /* or NULL */
  gboolean same_picture; /* of the request under way: tiles as before */

  /* The last prompt, and its keys and values as far as it was read. While
   * busy the request has the sequence. */
  VlmSequence sequence;
  VlmRecallPicture picture;
  int *ids; /* [n] */
  int n, image_at, image_rows;
  int last_rows; /* image_rows, if the picture turns out to be the same */

  GArray *caption; /* int, the last one's ids */
} VlmRecall;

/* That of the stream, empty if it is new; NULL if all are busy. Ends with
 * vlm_recall_leave. */
VlmRecall *vlm_recall_enter (VlmRecall *recalls, int n, guint64 stream);

/* Gives back what the request's sequence has cached of its prompt of n_prompt
 * tokens, and the caption; `sequence` is empty afterwards. */
void vlm_recall_leave (VlmRecall *recall, VlmSequence *sequence, int n_prompt,
    const GArray *caption);

void vlm_recall_clear (VlmRecall *recall);

/* Compares the tiles with the last picture's, which they replace. Every request
 * either looks or has the tiles forgotten: `tiles` NULL. */
void vlm_recall_look (VlmRecall *recall, VlmVision *vision, const guint8 *tiles,
    const float *lut, int n_tiles);

/* Learns whether they are the same, after the encoder has. */
void vlm_recall_hear (VlmRecall *recall);

/* Hands the last sequence over to *sequence (empty), cut to what this prompt
 * begins with, but for the last token, whose logits are wanted. */
void vlm_recall_prefix (VlmRecall *recall, const VlmPrompt *prompt,
    const VlmRecallPicture *picture, int image_rows, gboolean use,
    VlmSequence *sequence);

/* Proposes at most `most` tokens to follow ids: what followed the same last
 * two in the last caption. Returns their number and points *draft there. */
int vlm_recall_draft (
    const VlmRecall *recall, const GArray *ids, int most, const int **draft);

/* Takes the pages of sequences that no request uses. */
void vlm_recall_free_pages (VlmRecall *recalls, int n);

G_END_DECLS
