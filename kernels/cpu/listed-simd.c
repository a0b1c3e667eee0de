/* listed-simd.c - attention to chosen keys, once per vector level
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Listed keys are brought together into pages of 64, in the form of cache
 * pages, and attended to like those; listed pages are used where they are. A
 * lone key costs as many cache lines as it has channels, one after another, and
 * the sixteen of its panel cost no more.
 */
#include "kernels/cpu/attend-simd.h"

#include "kernels/cpu/listed.h"
#include "kernels/cpu/variants.h"

#include <string.h>

static int
at_most (int n, int bound)
{
  return n < bound ? n : bound;
}

/* ---- scores ---- */

/* The query heads of a key head of one sequence, and their rows of scores. */
typedef struct Rows {
  float *score; /* row after row, `stride` apart */
  size_t stride;
  int n, n_keys, first; /* rows; keys, seen from `first` on */
} Rows;

static void
score_page (
    const Listed *a, const Rows *rows, const float *q, const float *k, int key)
{
  float score[BLOCK * KV_PAGE_TOKENS];
  for (int row = 0; row < rows->n; row += BLOCK) {
    int m = at_most (rows->n - row, BLOCK);
    Multiply scores = { .sum = score,
      .sum_row = KV_PAGE_TOKENS,
      .sum_panel = PANEL,
      .x = q + (size_t) row * a->c,
      .x_row = a->c,
      .x_k = 1,
      .w = k,
      .w_k = PANEL,
      .w_panel = (size_t) a->c * PANEL,
      .type = TYPE_F32,
      .n_k = a->c,
      .first = true };
    multiply_block (&scores, m, KV_PAGE_TOKENS / PANEL);
    for (int i = 0; i < m; i++)
      for (int j = 0; j < KV_PAGE_TOKENS; j += SIMD_LANES)
        vf_store (rows->score + (row + i) * rows->stride + key + j,
            vf_mul (
                vf_load (score + i * KV_PAGE_TOKENS + j), vf_set1 (a->scale)));
  }
}

static void
score_rows (const Listed *a, const Rows *rows, int s, int kv_head)
{
  const int *pages = a->batch->pages + a->batch->page_start[s];
  const float *q =
      a->q + ((size_t) a->batch->q_start[s] * a->h + kv_head * rows->n) * a->c;
  int from = rows->first / KV_PAGE_TOKENS * KV_PAGE_TOKENS;
  for (int key = from; key < rows->n_keys; key += KV_PAGE_TOKENS) {
    size_t offset = cpu_kv_offset (
        pages[key / KV_PAGE_TOKENS], kv_head, a->n_kv_heads, a->c);
    score_page (a, rows, q, (const float *) a->kv->k + offset, key);
  }
  for (int row = 0; row < rows->n; row++)
    for (int j = 0; j < rows->first; j++)
      rows->score[row * rows->stride + j] = -INFINITY;
}

/* x[n] to probabilities. */
static void
softmax (float *x, int n)
{
  vf top = vf_set1 (-INFINITY), total = vf_set1 (0);
  float max = -INFINITY;
  int whole = n / SIMD_LANES * SIMD_LANES;
  for (int i = 0; i < whole; i += SIMD_LANES)
    top = vf_max (vf_load (x + i), top);
  max = vf_largest (top);
  for (int i = whole; i < n; i++)
    max = x[i] > max ? x[i] : max;
  for (int i = 0; i < n; i += SIMD_LANES) {
    vf p = vf_exp_down (vf_sub (vf_load_n (x + i, n - i), vf_set1 (max)));
    vf_store_n (x + i, n - i, p);
    total = vf_add (total, vf_load_n (x + i, n - i));
  }
  vf sum = vf_set1 (vf_sum (total));
  for (int i = 0; i < n; i += SIMD_LANES)
    vf_store_n (x + i, n - i, vf_div (vf_load_n (x + i, n - i), sum));
}

/* Row 0 becomes the sum of all. */
static void
add_rows (const Rows *rows)
{
  float *sum = rows->score;
  for (int row = 1; row < rows->n; row++)
    for (int j = rows->first; j < rows->n_keys; j += SIMD_LANES) {
      const float *x = rows->score + row * rows->stride + j;
      int n = rows->n_keys - j;
      vf_store_n (
          sum + j, n, vf_add (vf_load_n (sum + j, n), vf_load_n (x, n)));
    }
}

/* Its numbers of a page become their sum, at the page's place. */
static void
add_pages (const Rows *rows)
{
  for (int key = 0; key < rows->n_keys; key += KV_PAGE_TOKENS) {
    int end = at_most (rows->n_keys, key + KV_PAGE_TOKENS);
    vf sum = vf_set1 (0);
    for (int j = key > rows->first ? key : rows->first; j < end;
         j += SIMD_LANES)
      sum = vf_add (sum, vf_load_n (rows->score + j, end - j));
    rows->score[key / KV_PAGE_TOKENS] =
        end <= rows->first ? -INFINITY : vf_sum (sum);
  }
}

/* A task is a key head of a sequence. */
static void
score_tasks (void *data, int from, int to, int thread)
{
  const Listed *a = data;
  const PagedBatch *batch = a->batch;
  KeyGroup group = a->choice.group;
  for (int task = from; task < to; task++) {
    int s = task / a->n_kv_heads, kv_head = task % a->n_kv_heads;
    int n_rows = a->h / a->n_kv_heads, n = batch->kv_len[s];
    Rows rows = { a->score + listed_at (batch, s, a->h, kv_head * n_rows),
      listed_stride (batch, s), n_rows, n, listed_first (n, a->window) };
    if (!listed_has_token (batch, s))
      continue;
    score_rows (a, &rows, s, kv_head);
    if (group == KEYS_OF_QUERY_HEAD ||
        (group == KEYS_OF_KV_HEAD && n_rows == 1))
      continue;
    for (int row = 0; row < n_rows; row++)
      softmax (rows.score + row * rows.stride + rows.first, n - rows.first);
    add_rows (&rows);
    if (group == PAGES_OF_KV_HEAD)
      add_pages (&rows);
  }
}

static void
key_scores (Device *dev, float *score, const Act *q, const KvLayer *kv,
    const PagedBatch *batch, KeyGroup group, int h, int n_kv_heads, int c,
    float scale, int window)
{
  Listed a = listed_scores (
      score, q, kv, batch, group, h, n_kv_heads, c, scale, window);
  cpu_run (dev, listed_work (&a, batch->max_kv_len), batch->n_seqs * n_kv_heads,
      1, score_tasks, &a);
}

/* ---- attention ---- */

/* Where a list's keys are gathered to, in the form of a page. */
typedef struct Gathered {
  float *k, *v;
} Gathered;

/* n keys that are all of one page, as the places at .. at+n-1 of *to. */
static void
gather_page (const Listed *a, const Gathered *to, int at, size_t offset,
    const int *list, int n)
{
  const float *k = (const float *) a->kv->k + offset;
  const float *v = (const float *) a->kv->v + offset;
  for (int j = 0; j < n; j++) {
    int place = list[j] % KV_PAGE_TOKENS;
    const float *from = k + cpu_key_offset (place, a->c);
    float *key = to->k + cpu_key_offset (at + j, a->c);
    for (int i = 0; i < a->c; i++)
      key[i * KEY_PANEL] = from[i * KEY_PANEL];
    memcpy (to->v + (size_t) (at + j) * a->c, v + (size_t) place * a->c,
        a->c * sizeof (float));
  }
}

/* A list's query rows: those of one head, or of a key head's group. */
typedef struct Task {
  int kv_head;
  size_t row; /* of q and y, in vectors of c */
  int n_rows;
  const int *list, *pages;
  int kv_len, first;
} Task;

static int
attend_keys (
    const Listed *a, const Task *task, Attend *attend, const Gathered *to)
{
  int n = listed_entries (&a->choice, task->kv_len), done = 0;
  const int *list = task->list;
  while (n > 0 && *list < task->first)
    list++, n--;
  for (int i = 0; i < attend->n; i++)
    attend_row (attend, i, attend->n, a->q + (task->row + i) * a->c, 0, n - 1);
  while (done < n) {
    int end = at_most (n, done + KV_PAGE_TOKENS);
    for (int i = done; i < end;) {
      int page = list[i] / KV_PAGE_TOKENS, run = 1;
      while (i + run < end && list[i + run] / KV_PAGE_TOKENS == page)
        run++;
      gather_page (a, to, i - done,
          cpu_kv_offset (task->pages[page], task->kv_head, a->n_kv_heads, a->c),
          list + i, run);
      i += run;
    }
    attend_page (attend, to->k, to->v, done, n);
    done = end;
  }
  return n;
}

static int
attend_pages (const Listed *a, const Task *task, Attend *attend)
{
  int n = listed_entries (&a->choice, task->kv_len), n_seen = 0;
  for (int i = 0; i < attend->n; i++)
    attend_row (attend, i, attend->n, a->q + (task->row + i) * a->c,
        task->first, task->kv_len - 1);
  for (int i = 0; i < n; i++) {
    int key = task->list[i] * KV_PAGE_TOKENS;
    size_t offset = cpu_kv_offset (
        task->pages[task->list[i]], task->kv_head, a->n_kv_heads, a->c);
    if (key + KV_PAGE_TOKENS <= task->first)
      continue;
    attend_page (attend, (const float *) a->kv->k + offset,
        (const float *) a->kv->v + offset, key, task->kv_len);
    n_seen++;
  }
  return n_seen;
}

/* Up to ATTEND_ROWS rows of a task. */
static void
attend_task (const Listed *a, const Task *task, float *memory)
{
  Attend attend;
  Gathered to = { memory + attend_floats (a->c), NULL };
  to.v = to.k + (size_t) KV_PAGE_TOKENS * a->c;
  attend_init (&attend, memory, a->c, a->c, a->scale);
  attend.n = task->n_rows;
  int n_seen = a->choice.group == PAGES_OF_KV_HEAD
                   ? attend_pages (a, task, &attend)
                   : attend_keys (a, task, &attend, &to);
  for (int i = 0; i < task->n_rows; i++) {
    float *y = a->y + (task->row + i) * a->c;
    if (n_seen > 0)
      attend_result (&attend, i, y);
    else
      memset (y, 0, a->c * sizeof *y);
  }
}

/* A task is a list of a sequence. */
static void
attend_tasks (void *data, int from, int to, int thread)
{
  const Listed *a = data;
  const PagedBatch *batch = a->batch;
  KeyGroup group = a->choice.group;
  int n_lists = listed_lists (group, a->h, a->n_kv_heads);
  int n_rows = a->h / n_lists, per_kv_head = n_lists / a->n_kv_heads;
  for (int i = from; i < to; i++) {
    int s = i / n_lists, list = i % n_lists;
    int row = listed_row (group, list, a->h, a->n_kv_heads);
    Task task = { .kv_head = list / per_kv_head,
      .list = a->lists + listed_at (batch, s, a->h, row),
      .pages = batch->pages + batch->page_start[s],
      .kv_len = batch->kv_len[s],
      .first = listed_first (batch->kv_len[s], a->window) };
    if (!listed_has_token (batch, s))
      continue;
    for (int done = 0; done < n_rows; done += ATTEND_ROWS) {
      task.row = (size_t) batch->q_start[s] * a->h + row + done;
      task.n_rows = at_most (n_rows - done, ATTEND_ROWS);
      attend_task (a, &task, a->scratch + a->scratch_row * thread);
    }
  }
}

static void
attention_listed (Device *dev, Act *y, const Act *q, const KvLayer *kv,
    const PagedBatch *batch, const int *lists, const KeyChoice *choice, int h,
    int n_kv_heads, int c, float scale, int window)
{
  Listed a = listed_attention (
      y, q, kv, batch, lists, choice, h, n_kv_heads, c, scale, window);
  a.scratch_row = attend_floats (c) + (size_t) 2 * KV_PAGE_TOKENS * c;
  a.scratch =
      cpu_scratch (dev, sizeof *a.scratch * a.scratch_row * dev->n_threads);
  if (a.scratch)
    cpu_run (dev, listed_work (&a, listed_most_keys (&a)) * 2,
        batch->n_seqs * listed_lists (choice->group, h, n_kv_heads), 1,
        attend_tasks, &a);
}

void
SIMD_NAME (cpu_init_listed) (Ops *op)
{
  op->key_scores = key_scores;
  op->attention_listed = attention_listed;
}
