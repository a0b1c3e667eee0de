/* policy-greedy.h - the best patches one after another, likenesses counted once
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A patch that is taken makes its eight neighbours in its tile less wanted, the
 * more so the more they are like it: score *= 1 - strength * max (0, cosine).
 * The first patch of a line of the canvas may cost a token more, which the line
 * ends with.
 */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* Patches are numbered tile after tile, t*side*side + y*side + x. Arrays are
 * the caller's. */
typedef struct {
  int side;
  const float *near; /* [P,N,4] cosines, see near_cosines in kernels/ops.h;
                      * NULL: all are 1 */
  float strength;    /* 0 to 1 */
  float *score;      /* [P*N] 0 or more; becomes VLM_GREEDY_TAKEN */
  gboolean *ended;   /* [lines of the canvas] FALSE at first, then which have
                      * paid for their end; NULL: lines have none */
  int across;        /* tiles in a row of the canvas */
  int *heap;         /* [P*N] the candidates; scratch after */
  int n_heap;        /* of them */
  float *held;       /* [P*N] scratch */
} VlmGreedy;

#define VLM_GREEDY_TAKEN (-1.0f)

/* The line of the canvas that a patch is in; -1 in tile 0. */
static inline int
vlm_greedy_line (int side, int across, int id)
{
  int N = side * side, t = id / N - 1;

  return t < 0 ? -1 : t / across * side + id % N / side;
}

/* Takes the best candidates, ties to the lowest number, until n tokens are
 * spent or none is left. Who takes the last one opens a line without an end. */
void vlm_greedy_take (VlmGreedy *greedy, int n);

G_END_DECLS
