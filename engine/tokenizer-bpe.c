/* tokenizer-bpe.c - byte-pair encoding over a heap and a linked list
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Source: Sennrich et al., Neural Machine Translation of Rare Words with
 * Subword Units; the order of unknown pieces and the treatment of outdated
 * candidates as in the tokenizers library (models/bpe).
 */
#include "engine/tokenizer-bpe.h"

#include <string.h>

/* Both tables are open addressed: a power of two slots, at most half full. */
typedef struct {
  guint32 offset, length; /* in text; offset 0: free */
  guint32 id;
} PieceSlot;

typedef struct {
  guint32 left, right; /* left VLM_NO_TOKEN: free */
  guint32 rank, id;
} MergeSlot;

struct VlmBpe {
  GString *text;   /* all pieces, a NUL after each */
  GArray *offsets; /* guint32 [size] into text by id; 0: no such id */
  PieceSlot *pieces;
  MergeSlot *merges;
  guint32 n_piece_slots, n_pieces;
  guint32 n_merge_slots, n_merges;
  guint32 next_rank;
  guint32 unknown;
  guint32 bytes[256]; /* <0x00> to <0xFF>, or VLM_NO_TOKEN */
  gboolean fuse_unknown, ignore_merges;
};

VlmBpe *
vlm_bpe_new (void)
{
  VlmBpe *bpe = g_new0 (VlmBpe, 1);
  bpe->text = g_string_new (NULL);
  g_string_append_c (bpe->text, '\0');
  bpe->offsets = g_array_new (FALSE, TRUE, sizeof (guint32));
  bpe->n_piece_slots = bpe->n_merge_slots = 16;
  bpe->pieces = g_new0 (PieceSlot, bpe->n_piece_slots);
  bpe->merges = g_new (MergeSlot, bpe->n_merge_slots);
  memset (bpe->merges, 0xff, bpe->n_merge_slots * sizeof *bpe->merges);
  memset (bpe->bytes, 0xff, sizeof bpe->bytes);
  bpe->unknown = VLM_NO_TOKEN;
  return bpe;
}

void
vlm_bpe_free (VlmBpe *bpe)
{
  if (!bpe)
    return;
  g_string_free (bpe->text, TRUE);
  g_array_unref (bpe->offsets);
  g_free (bpe->pieces);
  g_free (bpe->merges);
  g_free (bpe);
}

void
vlm_bpe_set_unknown (VlmBpe *bpe, guint32 id, gboolean fuse)
{
  bpe->unknown = id;
  bpe->fuse_unknown = fuse;
}

void
vlm_bpe_set_byte_fallback (VlmBpe *bpe)
{
  for (int i = 0; i < 256; i++) {
    char piece[8];
    g_snprintf (piece, sizeof piece, "<0x%02X>", i);
    bpe->bytes[i] = vlm_bpe_find (bpe, piece, 6);
  }
}

void
vlm_bpe_set_ignore_merges (VlmBpe *bpe)
{
  bpe->ignore_merges = TRUE;
}

static PieceSlot *
piece_slot (const VlmBpe *bpe, const char *piece, gsize length)
{
  guint32 h = 2166136261u; /* FNV-1a */
  for (gsize i = 0; i < length; i++)
    h = (h ^ (guint8) piece[i]) * 16777619u;
  for (h ^= h >> 15;; h++) {
    PieceSlot *slot = &bpe->pieces[h & (bpe->n_piece_slots - 1)];
    if (!slot->offset ||
        (slot->length == length &&
            !memcmp (bpe->text->str + slot->offset, piece, length)))
      return slot;
  }
}

static MergeSlot *
merge_slot (const VlmBpe *bpe, guint32 left, guint32 right)
{
  guint64 pair = (guint64) left << 32 | right;
  guint32 h = (pair * G_GUINT64_CONSTANT (0x9e3779b97f4a7c15)) >> 32;
  for (;; h++) {
    MergeSlot *slot = &bpe->merges[h & (bpe->n_merge_slots - 1)];
    if (slot->left == VLM_NO_TOKEN ||
        (slot->left == left && slot->right == right))
      return slot;
  }
}

static void
grow_pieces (VlmBpe *bpe)
{
  g_autofree PieceSlot *old = bpe->pieces;
  guint32 n = bpe->n_piece_slots;
  bpe->n_piece_slots = 2 * n;
  bpe->pieces = g_new0 (PieceSlot, 2 * n);
  for (guint32 i = 0; i < n; i++)
    if (old[i].offset)
      *piece_slot (bpe, bpe->text->str + old[i].offset, old[i].length) = old[i];
}

static void
grow_merges (VlmBpe *bpe)
{
  g_autofree MergeSlot *old = bpe->merges;
  guint32 n = bpe->n_merge_slots;
  bpe->n_merge_slots = 2 * n;
  bpe->merges = g_new (MergeSlot, 2 * n);
  memset (bpe->merges, 0xff, 2 * n * sizeof *bpe->merges);
  for (guint32 i = 0; i < n; i++)
    if (old[i].left != VLM_NO_TOKEN)
      *merge_slot (bpe, old[i].left, old[i].right) = old[i];
}

void
vlm_bpe_add_piece (VlmBpe *bpe, const char *piece, guint32 id)
{
  gsize length = strlen (piece);
  PieceSlot *slot = piece_slot (bpe, piece, length);
  g_return_if_fail (id < VLM_MAX_TOKENS);
  if (!slot->offset) {
    slot->offset = bpe->text->len;
    slot->length = length;
    g_string_append_len (bpe->text, piece, length + 1);
    bpe->n_pieces++;
  }
  slot->id = id;
  if (id >= bpe->offsets->len)
    g_array_set_size (bpe->offsets, id + 1);
  g_array_index (bpe->offsets, guint32, id) = slot->offset;
  if (2 * bpe->n_pieces >= bpe->n_piece_slots)
    grow_pieces (bpe);
}

static gboolean
add_ranked (VlmBpe *bpe, const char *left, gsize left_length, const char *right,
    gsize right_length, guint32 rank)
{
  g_autofree char *both = g_malloc (left_length + right_length + 1);
  memcpy (both, left, left_length);
  memcpy (both + left_length, right, right_length);
  guint32 a = vlm_bpe_find (bpe, left, left_length);
  guint32 b = vlm_bpe_find (bpe, right, right_length);
  guint32 id = vlm_bpe_find (bpe, both, left_length + right_length);
  if (a == VLM_NO_TOKEN || b == VLM_NO_TOKEN || id == VLM_NO_TOKEN)
    return FALSE;
  MergeSlot *slot = merge_slot (bpe, a, b);
  if (slot->left == VLM_NO_TOKEN)
    bpe->n_merges++;
  *slot = (MergeSlot){ a, b, rank, id };
  if (2 * bpe->n_merges >= bpe->n_merge_slots)
    grow_merges (bpe);
  return TRUE;
}

gboolean
vlm_bpe_add_merge (VlmBpe *bpe, const char *left, gsize left_length,
    const char *right, gsize right_length)
{
  if (!add_ranked (bpe, left, left_length, right, right_length, bpe->next_rank))
    return FALSE;
  bpe->next_rank++;
  return TRUE;
}

void
vlm_bpe_add_split (VlmBpe *bpe, const char *left, gsize left_length,
    const char *right, gsize right_length, gboolean first)
{
  if (first)
    bpe->next_rank++;
  add_ranked (bpe, left, left_length, right, right_length, bpe->next_rank);
}

guint32
vlm_bpe_find (const VlmBpe *bpe, const char *piece, gsize length)
{
  const PieceSlot *slot = piece_slot (bpe, piece, length);
  return slot->offset ? slot->id : VLM_NO_TOKEN;
}

const char *
vlm_bpe_piece (const VlmBpe *bpe, guint32 id)
{
  guint32 offset = 0;
  if (id < bpe->offsets->len)
    offset = g_array_index (bpe->offsets, guint32, id);
  return offset ? bpe->text->str + offset : NULL;
}

guint32
vlm_bpe_size (const VlmBpe *bpe)
{
  return bpe->offsets->len;
}

guint32
vlm_bpe_n_pieces (const VlmBpe *bpe)
{
  return bpe->n_pieces;
}

typedef struct {
  guint32 id;            /* VLM_NO_TOKEN once joined to the one before */
  gint32 previous, next; /* -1: none */
} Symbol;

typedef struct {
  guint32 rank, id;
  gint32 position; /* of the left symbol */
} Candidate;

void
vlm_bpe_scratch_init (VlmBpeScratch *scratch)
{
  scratch->symbols = g_array_new (FALSE, FALSE, sizeof (Symbol));
  scratch->queue = g_array_new (FALSE, FALSE, sizeof (Candidate));
}

void
vlm_bpe_scratch_clear (VlmBpeScratch *scratch)
{
  g_clear_pointer (&scratch->symbols, g_array_unref);
  g_clear_pointer (&scratch->queue, g_array_unref);
}

static gboolean
is_before (const Candidate *a, const Candidate *b)
{
  return a->rank != b->rank ? a->rank < b->rank : a->position < b->position;
}

static void
queue_push (GArray *queue, Candidate candidate)
{
  gsize i = queue->len;
  g_array_set_size (queue, i + 1);
  Candidate *heap = (Candidate *) queue->data;
  for (gsize up; i > 0 && is_before (&candidate, &heap[up = (i - 1) / 2]);
       i = up)
    heap[i] = heap[up];
  heap[i] = candidate;
}

static Candidate
queue_pop (GArray *queue)
{
  Candidate *heap = (Candidate *) queue->data;
  Candidate top = heap[0];
  gsize n = queue->len - 1, i = 0;
  Candidate last = heap[n];
  for (gsize down; (down = 2 * i + 1) < n; i = down) {
    if (down + 1 < n && is_before (&heap[down + 1], &heap[down]))
      down++;
    if (!is_before (&heap[down], &last))
      break;
    heap[i] = heap[down];
  }
  heap[i] = last;
  g_array_set_size (queue, n);
  return top;
}

static void
add_symbol (GArray *symbols, guint32 id)
{
  Symbol symbol = { id, (gint32) symbols->len - 1, -1 };
  if (symbols->len)
    g_array_index (symbols, Symbol, symbols->len - 1).next = symbols->len;
  g_array_append_val (symbols, symbol);
}

static gboolean
add_bytes (const VlmBpe *bpe, GArray *symbols, const char *c, gsize length)
{
  for (gsize i = 0; i < length; i++)
    if (bpe->bytes[(guint8) c[i]] == VLM_NO_TOKEN)
      return FALSE;
  for (gsize i = 0; i < length; i++)
    add_symbol (symbols, bpe->bytes[(guint8) c[i]]);
  return TRUE;
}

/* An unknown character waits for the next known one, so that neighbours can
 * fuse; bytes do not end the wait and overtake it, as in the library. */
static void
split_characters (
    const VlmBpe *bpe, GArray *symbols, const char *word, gsize length)
{
  gboolean waiting = FALSE;
  const char *next;
  for (const char *c = word; c < word + length; c = next) {
    next = g_utf8_next_char (c);
    guint32 id = vlm_bpe_find (bpe, c, next - c);
    if (id != VLM_NO_TOKEN) {
      if (waiting)
        add_symbol (symbols, bpe->unknown);
      waiting = FALSE;
      add_symbol (symbols, id);
    } else if (!add_bytes (bpe, symbols, c, next - c)) {
      if (waiting && !bpe->fuse_unknown)
        add_symbol (symbols, bpe->unknown);
      waiting = bpe->unknown != VLM_NO_TOKEN;
    }
  }
  if (waiting)
    add_symbol (symbols, bpe->unknown);
}

static void
queue_pair (const VlmBpe *bpe, VlmBpeScratch *scratch, gint32 position)
{
  const Symbol *symbols = (Symbol *) scratch->symbols->data;
  if (position < 0 || symbols[position].next < 0)
    return;
  const MergeSlot *slot = merge_slot (
      bpe, symbols[position].id, symbols[symbols[position].next].id);
  if (slot->left != VLM_NO_TOKEN)
    queue_push (scratch->queue, (Candidate){ slot->rank, slot->id, position });
}

/* A candidate may be outdated; it still counts if what stands there now makes
 * the same piece. */
static gboolean
still_holds (
    const VlmBpe *bpe, const Symbol *symbols, const Candidate *candidate)
{
  const Symbol *left = &symbols[candidate->position];
  if (left->id == VLM_NO_TOKEN || left->next < 0)
    return FALSE;
  const MergeSlot *slot = merge_slot (bpe, left->id, symbols[left->next].id);
  return slot->left != VLM_NO_TOKEN && slot->id == candidate->id;
}

static void
merge_symbols (const VlmBpe *bpe, VlmBpeScratch *scratch)
{
  Symbol *symbols = (Symbol *) scratch->symbols->data;
  for (guint i = 0; i + 1 < scratch->symbols->len; i++)
    queue_pair (bpe, scratch, i);
  while (scratch->queue->len) {
    Candidate best = queue_pop (scratch->queue);
    if (!still_holds (bpe, symbols, &best))
      continue;
    Symbol *left = &symbols[best.position];
    Symbol *right = &symbols[left->next];
    left->id = best.id;
    left->next = right->next;
    right->id = VLM_NO_TOKEN;
    if (left->next >= 0)
      symbols[left->next].previous = best.position;
    queue_pair (bpe, scratch, left->previous);
    queue_pair (bpe, scratch, best.position);
  }
}

void
vlm_bpe_encode (const VlmBpe *bpe, VlmBpeScratch *scratch, const char *word,
    gsize length, GArray *ids)
{
  guint32 whole = VLM_NO_TOKEN;
  if (bpe->ignore_merges)
    whole = vlm_bpe_find (bpe, word, length);
  if (whole != VLM_NO_TOKEN) {
    g_array_append_val (ids, whole);
    return;
  }
  g_array_set_size (scratch->symbols, 0);
  g_array_set_size (scratch->queue, 0);
  split_characters (bpe, scratch->symbols, word, length);
  merge_symbols (bpe, scratch);
  for (guint i = 0; i < scratch->symbols->len; i++) {
    guint32 id = g_array_index (scratch->symbols, Symbol, i).id;
    if (id != VLM_NO_TOKEN)
      g_array_append_val (ids, id);
  }
}
