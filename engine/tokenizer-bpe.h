/* tokenizer-bpe.h - pieces, merges, and words to ids by them
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Filled once while a file is read (vlm_bpe_add_piece for all pieces, then
 * vlm_bpe_add_merge or vlm_bpe_add_split, best rank first), then only read.
 */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* Ids from here on are refused: tables are indexed by id. */
#define VLM_MAX_TOKENS (1 << 22)

#define VLM_NO_TOKEN G_MAXUINT32

typedef struct VlmBpe VlmBpe;

VlmBpe *vlm_bpe_new (void);
void vlm_bpe_free (VlmBpe *bpe);

/* The unknown piece (VLM_NO_TOKEN: characters that are no piece vanish). */
void vlm_bpe_set_unknown (VlmBpe *bpe, guint32 id, gboolean fuse);
void vlm_bpe_set_byte_fallback (VlmBpe *bpe); /* after all pieces are in */
void vlm_bpe_set_ignore_merges (VlmBpe *bpe);

/* A piece and its id, below VLM_MAX_TOKENS. A piece given twice keeps the
 * last id. */
void vlm_bpe_add_piece (VlmBpe *bpe, const char *piece, guint32 id);

/* The next merge in rank. FALSE if a part or their union is no piece. */
gboolean vlm_bpe_add_merge (VlmBpe *bpe, const char *left, gsize left_length,
    const char *right, gsize right_length);

/* One of the ways to cut a piece in two pieces, all of one rank: `first` of
 * them is one rank after the piece before. Not together with add_merge. */
void vlm_bpe_add_split (VlmBpe *bpe, const char *left, gsize left_length,
    const char *right, gsize right_length, gboolean first);

guint32 vlm_bpe_find (const VlmBpe *bpe, const char *piece, gsize length);
const char *vlm_bpe_piece (const VlmBpe *bpe, guint32 id); /* or NULL */
guint32 vlm_bpe_size (const VlmBpe *bpe); /* the highest id plus one */
guint32 vlm_bpe_n_pieces (const VlmBpe *bpe);

/* Working memory of vlm_bpe_encode, reused from word to word. */
typedef struct {
  GArray *symbols, *queue;
} VlmBpeScratch;

void vlm_bpe_scratch_init (VlmBpeScratch *scratch);
void vlm_bpe_scratch_clear (VlmBpeScratch *scratch);

/* Appends the ids (gint32) of one word of valid UTF-8: its characters, then
 * the adjacent pair of lowest rank merged, leftmost first, until none is
 * left. O(n log n). */
void vlm_bpe_encode (const VlmBpe *bpe, VlmBpeScratch *scratch,
    const char *word, gsize length, GArray *ids);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (VlmBpe, vlm_bpe_free)

G_END_DECLS
