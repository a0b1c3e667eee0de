/* kernels-choice.c - cases of the choice of patches and of their order
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Integers: every backend must give the same bits. That they are those of the
 * HiRED paper's rules is tested in policy-examples.c, whose policies choose by
 * these ops.
 */
#include "tests/kernels.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* How many patches of a tile are chosen. */
typedef enum Budget {
  SOME, /* any number */
  NONE,
  ALL,
  GAPS, /* any number of some tiles; the others are not encoded */
} Budget;

#define MOST_TILES 17

typedef struct Choice {
  int side, across, t, n; /* n: rows, first ones included */
  PatchTile tile[MOST_TILES];
  int *rows; /* [n], as it is before choosing */
  KtBuf tiles;
} Choice;

static PatchTile
random_tile (Kt *kt, int number, int side)
{
  PatchTile tile = { number, { 0, side, 0, side }, { 0 }, 0, 0 };
  PatchRect *used = &tile.used;
  if (kt_timing (kt) || number == 0)
    return tile;
  used->y0 = kt_below (kt, side + 1);
  used->y1 = used->y0 + kt_below (kt, side - used->y0 + 1);
  used->x0 = kt_below (kt, 3) ? 0 : kt_below (kt, side);
  used->x1 -= kt_below (kt, 3) ? 0 : kt_below (kt, side - used->x0);
  return tile;
}

static int
count (const PatchRect *used)
{
  return (used->y1 - used->y0) * (used->x1 - used->x0);
}

static int
share (Kt *kt, const PatchTile *tile, Budget budget)
{
  int most = count (&tile->used);
  if (kt_timing (kt))
    return most / 5;
  return budget == NONE ? 0 : budget == ALL ? most : kt_below (kt, most + 1);
}

/* size: side, tiles across, tiles down, budget, 1 + rows before the first */
static Choice
choice_new (Kt *kt, const int *size)
{
  int n_tiles = 1 + size[1] * size[2];
  Budget budget = (Budget) size[3];
  Choice c = { .side = size[0], .across = size[1], .n = size[4] - 1 };
  for (int number = 0; number < n_tiles; number++) {
    PatchTile tile = random_tile (kt, number, c.side);
    if (number > 0 && budget == GAPS && kt_below (kt, 3) == 0)
      continue;
    tile.first = c.n;
    tile.n = share (kt, &tile, budget);
    c.n += tile.n;
    c.tile[c.t++] = tile;
  }
  c.rows = kt_bytes (kt, sizeof *c.rows * c.n);
  c.tiles = kt_array (kt, c.tile, sizeof *c.tile * c.t);
  return c;
}

static bool
is_better (float a, float b)
{
  return isnan (a) ? !isnan (b) : a > b;
}

/* The n best of a tile one by one, marked; then in order. */
static void
choose_twin (
    Kt *kt, int *rows, const float *score, const PatchTile *tile, int S)
{
  bool *taken = kt_bytes (kt, S * S);
  PatchRect used = tile->used;
  for (int i = 0; i < tile->n; i++) {
    int best = -1;
    for (int y = used.y0; y < used.y1; y++)
      for (int x = used.x0; x < used.x1; x++)
        if (!taken[y * S + x] &&
            (best < 0 || is_better (score[y * S + x], score[best])))
          best = y * S + x;
    taken[best] = true;
  }
  for (int j = 0; j < S * S; j++)
    if (taken[j])
      *rows++ = j;
}

static int
bad_twin (const float *score, const PatchTile *tile, int S)
{
  PatchRect used = tile->used;
  for (int y = used.y0; y < used.y1 && tile->n; y++)
    for (int x = used.x0; x < used.x1; x++)
      if (isnan (score[y * S + x]))
        return y * S + x;
  return -1;
}

static void
choose (Kt *kt, const Choice *c, const float *score, int *rows, int *bad)
{
  int N = c->side * c->side;
  for (int i = 0; i < c->t; i++) {
    const PatchTile *tile = &c->tile[i];
    choose_twin (kt, rows + tile->first, score + i * N, tile, c->side);
    for (int k = 0; k < tile->n; k++)
      rows[tile->first + k] += i * (N + 1) + 1;
    bad[i] = bad_twin (score + i * N, tile, c->side);
  }
}

/* Scores with many ties, if not as the fill says. */
static float *
scores_of (Kt *kt, const Choice *c, bool ties)
{
  size_t n = (size_t) c->t * c->side * c->side;
  float *score = kt_values (kt, n);
  for (size_t i = 0; i < n && ties; i++)
    if (!isnan (score[i]))
      score[i] = roundf (score[i] * 3) / 3; /* both zeros among them */
  return score;
}

static void
choose_patches (Kt *kt, const int *size)
{
  Choice c = choice_new (kt, size);
  float *score = scores_of (kt, &c, size[5] == 1);
  size_t n_scores = (size_t) c.t * c.side * c.side;
  int *want = kt_bytes (kt, sizeof *want * c.n);
  int *want_bad = kt_bytes (kt, sizeof *want_bad * c.t);
  if (!kt_timing (kt))
    choose (kt, &c, score, want, want_bad);
  KtBuf S = kt_array (kt, score, sizeof *score * n_scores),
        R = kt_array (kt, c.rows, sizeof *c.rows * c.n),
        B = kt_array (kt, NULL, sizeof (int) * c.t);
  kt_work (kt, 4.0 * n_scores, 0);
  KT_EACH (kt, dev, on)
  dev->op->choose_patches (
      dev, R.on[on], B.on[on], S.on[on], c.tiles.on[on], c.t, c.side);
  kt_expect_same (kt, &R, want);
  kt_expect_same (kt, &B, want_bad);
}

/* ---- order ---- */

typedef struct Place {
  long at; /* in the sequence of all patches */
  int row, from;
} Place;

static int
compare_places (const void *a, const void *b)
{
  const Place *x = a, *y = b;
  return (x->at > y->at) - (x->at < y->at);
}

static long
place_of (const Choice *c, int row)
{
  int S = c->side;
  unsigned rows = (unsigned) (S * S + 1); /* of a tile */
  int j = (int) ((unsigned) row % rows) - 1;
  int cell = c->tile[(unsigned) row / rows].number - 1;
  if (j < 0) /* a class token comes before everything */
    return -1;
  if (cell < 0)
    return j;
  return S * S + (long) (cell / c->across * S + j / S) * c->across * S +
         cell % c->across * S + j % S;
}

static void
pack_patches (Kt *kt, const int *size)
{
  Choice c = choice_new (kt, size);
  float *score = scores_of (kt, &c, false);
  int *want = kt_bytes (kt, sizeof *want * c.n);
  int *want_from = kt_bytes (kt, sizeof *want * c.n);
  int *bad = kt_bytes (kt, sizeof *bad * c.t);
  Place *places = kt_bytes (kt, sizeof *places * c.n);
  choose (kt, &c, score, c.rows, bad);
  for (int p = 0; p < c.n; p++)
    places[p] = (Place){ place_of (&c, c.rows[p]), c.rows[p], p };
  qsort (places, c.n, sizeof *places, compare_places);
  for (int p = 0; p < c.n; p++) {
    want[p] = places[p].row;
    want_from[p] = places[p].from;
  }
  KtBuf R = kt_array (kt, c.rows, sizeof *c.rows * c.n),
        Y = kt_array (kt, NULL, sizeof *want * c.n),
        F = kt_array (kt, NULL, sizeof *want * c.n);
  kt_work (kt, 12.0 * c.n, 0);
  KT_EACH (kt, dev, on)
  dev->op->pack_patches (
      dev, Y.on[on], F.on[on], R.on[on], c.tiles.on[on], c.t, c.side, c.across);
  kt_expect_same (kt, &Y, want);
  kt_expect_same (kt, &F, want_from);
}

#define SIZES(ties)                                                            \
  {                                                                            \
    { 5, 2, 2, SOME, 1, ties }, { 24, 2, 2, GAPS, 1, ties },                   \
        { 4, 3, 1, ALL, 2, ties }, { 1, 0, 0, ALL, 1, ties },                  \
        { 7, 0, 0, SOME, 1, ties }, { 24, 0, 0, SOME, 2, ties },               \
        { 6, 2, 2, NONE, 1, ties }, { 6, 2, 2, NONE, 2, ties },                \
        { 4, 1, 3, GAPS, 1, ties }, { 3, 4, 4, GAPS, 2, ties },                \
        { 24, 2, 2, ALL, 1, ties }, { 36, 1, 1, SOME, 1, ties },               \
    {                                                                          \
      2, 4, 4, SOME, 1, ties                                                   \
    }                                                                          \
  }

const KtCase kt_cases_choice[] = {
  { KT_SLOT (choose_patches), choose_patches, true, .sizes = SIZES (1),
      .benches = { { 24, 2, 2, SOME, 1 }, { 24, 0, 0, SOME, 1 } } },
  { KT_SLOT (pack_patches), pack_patches, true, .sizes = SIZES (0),
      .benches = { { 24, 2, 2, SOME, 1 } } },
  { NULL },
};
