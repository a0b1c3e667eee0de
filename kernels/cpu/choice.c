/* choice.c - the best of some scores, tiles' shares and best patches, plain C
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Scores become integers that order alike; digit by digit from the top their
 * histogram narrows down where the last winner is. No sorting, and what is
 * collected afterwards is in order by itself.
 */
#include "kernels/choice.h"

#include "kernels/cpu/cpu.h"
#include "kernels/share.h"

#define DIGIT_BITS 11
#define DIGITS (1 << DIGIT_BITS)

uint32_t
choice_cut (
    const float *score, int stride, int rows, int cols, int n_best, int *n_at)
{
  static const int shifts[] = { 21, 10, 0 };
  uint32_t cut = 0, known = 0;
  for (int pass = 0; pass < 3; pass++) {
    int shift = shifts[pass], digit = DIGITS - 1, count[DIGITS] = { 0 };
    for (int y = 0; y < rows; y++)
      for (int x = 0; x < cols; x++) {
        uint32_t rank = choice_rank (score[(size_t) y * stride + x]);
        if ((rank & known) == cut)
          count[rank >> shift & (DIGITS - 1)]++;
      }
    while (count[digit] < n_best)
      n_best -= count[digit--];
    cut |= (uint32_t) digit << shift;
    known |= (uint32_t) (DIGITS - 1) << shift;
  }
  *n_at = n_best;
  return cut;
}

/* The best of a tile whose patch 0 is that row; returns the first that is not a
 * number, or -1. */
static int
choose (
    int *rows, int patch_0, const float *score, const PatchTile *tile, int side)
{
  PatchRect used = tile->used;
  int n_at = 0, bad = -1;
  if (tile->n == 0)
    return -1;
  uint32_t cut = choice_cut (score + used.y0 * side + used.x0, side,
      used.y1 - used.y0, used.x1 - used.x0, tile->n, &n_at);
  for (int y = used.y0; y < used.y1; y++)
    for (int x = used.x0; x < used.x1; x++) {
      int j = y * side + x;
      uint32_t rank = choice_rank (score[j]);
      if (rank > cut || (rank == cut && n_at-- > 0))
        *rows++ = patch_0 + j;
      if (bad < 0 && score[j] != score[j])
        bad = j;
    }
  return bad;
}

static void
share_patches (Device *dev, PatchTile *tiles, int *start, double *sum,
    const float *score, int t, int side, int n)
{
  Sharing sharing;
  for (int i = 0; i < t; i++)
    sum[i] = tiles[i].number > 0 ? share_sum (score, &tiles[i].area, side) : 0;
  share_tiles (&sharing, tiles, start, sum, t, n);
}

static void
choose_patches (Device *dev, int *rows, int *bad, const float *score,
    const PatchTile *tiles, int t, int side)
{
  int N = side * side;
  for (int i = 0; i < t; i++)
    bad[i] = choose (rows + tiles[i].first, i * (N + 1) + 1,
        score + (size_t) i * N, &tiles[i], side);
}

/* Past the tiles that lie in one row of the canvas; tile 0 lies alone. */
static int
end_of_band (const PatchTile *tiles, int first, int t, int across)
{
  int end = first + 1;
  while (tiles[first].number > 0 && end < t &&
         (tiles[end].number - 1) / across == (tiles[first].number - 1) / across)
    end++;
  return end;
}

typedef struct Sequence {
  int *row, *from;
  int n;
} Sequence;

/* Appends rows from place p on that are below `past`; returns the place after
 * them. */
static int
pack (Sequence *s, const int *rows, int p, int end, int past)
{
  for (; p < end && rows[p] < past; p++) {
    s->from[s->n] = p;
    s->row[s->n++] = rows[p];
  }
  return p;
}

static void
pack_patches (Device *dev, int *sequence, int *from, const int *rows,
    const PatchTile *tiles, int t, int side, int across)
{
  Sequence s = { sequence, from, 0 };
  int *next = cpu_scratch (dev, sizeof *next * (t + 1));
  if (!next || t == 0)
    return;
  for (int i = 0; i < t; i++)
    next[i] = tiles[i].first;
  pack (&s, rows, 0, tiles[0].first, INT32_MAX);
  for (int first = 0, end; first < t; first = end) {
    end = end_of_band (tiles, first, t, across);
    for (int y = 0; y < side; y++)
      for (int i = first; i < end; i++)
        next[i] = pack (&s, rows, next[i], tiles[i].first + tiles[i].n,
            i * (side * side + 1) + 1 + (y + 1) * side);
  }
}

void
cpu_init_choice (Ops *op)
{
  op->share_patches = share_patches;
  op->choose_patches = choose_patches;
  op->pack_patches = pack_patches;
}
