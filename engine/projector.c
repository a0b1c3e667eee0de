/* projector.c - kept features to text width, packed and spliced
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "engine/projector.h"

#include "engine/params.h"
#include "engine/scratch.h"

#define BLOCK 512 /* rows projected at once: working memory stays small */

struct VlmProjector {
  Device *dev;
  int width_in, width; /* C * layers, D */
  Epilogue activation;
  gboolean newlines;  /* the family puts one after each canvas row */
  int n_class_tokens; /* features before the selection's: 0 or 1 */
  int max_tokens;
  VlmParams *params;
  Mat linear_1, linear_2; /* [D,C*layers], [D,D] */
  float *newline;         /* [D] */

  VlmArena arena;
  Act *hidden;        /* [BLOCK,D] */
  Residual *out;      /* [BLOCK,D] on their way to x, or activations */
  int *dev_rows;      /* [max_tokens] where each feature goes in x */
  int *dev_newlines;  /* [max_tokens+1] rows of newlines in x */
  int *rows, *breaks; /* the same on the host */
};

static void
list_weights (VlmProjector *p, const VlmConfig *config)
{
  gboolean bias = config->projector_bias;

  vlm_params_mat (p->params, &p->linear_1, p->width, p->width_in, bias,
      "multi_modal_projector.linear_1");
  vlm_params_mat (p->params, &p->linear_2, p->width, p->width, bias,
      "multi_modal_projector.linear_2");
  if (config->newline)
    vlm_params_vector (p->params, &p->newline, p->width, "image_newline");
}

static void
lay_out (VlmProjector *p)
{
  gsize act = p->dev->act_bytes;

  p->hidden = vlm_arena_take (&p->arena, (gsize) BLOCK * p->width, act);
  p->out =
      vlm_arena_take (&p->arena, (gsize) BLOCK * p->width, sizeof (Residual));
  p->dev_rows = vlm_arena_take (&p->arena, p->max_tokens, sizeof (int));
  p->dev_newlines = vlm_arena_take (&p->arena, p->max_tokens + 1, sizeof (int));
}

static VlmProjector *
projector_new_empty (Device *dev, const VlmConfig *config, int max_tokens)
{
  VlmProjector *p = g_new0 (VlmProjector, 1);

  p->dev = dev;
  p->width_in = config->vision.width * config->n_feature_layers;
  p->width = config->text.width;
  p->activation = config->projector_activation == VLM_ACT_QUICK_GELU
                      ? EPILOGUE_QUICK_GELU
                      : EPILOGUE_GELU;
  p->newlines = config->newline;
  p->n_class_tokens = config->keep_class_token ? 1 : 0;
  p->max_tokens = max_tokens + p->n_class_tokens;
  return p;
}

VlmProjector *
vlm_projector_new (Device *dev, const VlmModel *model, DataType type,
    int max_tokens, GError **error)
{
  g_autoptr (VlmProjector) p =
      projector_new_empty (dev, &model->config, max_tokens);

  p->params = vlm_params_new (dev, model->weights, type);
  list_weights (p, &model->config);
  if (!vlm_params_check (p->params, error))
    return NULL;
  lay_out (p);
  if (!vlm_arena_allocate (&p->arena, dev, "projector", error))
    return NULL;
  lay_out (p);
  p->rows = g_new (int, p->max_tokens);
  p->breaks = g_new (int, p->max_tokens + 1);
  if (!vlm_device_check (dev, error))
    return NULL;
  return g_steal_pointer (&p);
}

guint64
vlm_projector_bytes (
    Device *dev, const VlmModel *model, DataType type, int max_tokens)
{
  g_autoptr (VlmProjector) p =
      projector_new_empty (dev, &model->config, max_tokens);

  p->params = vlm_params_new_measuring (dev, model->weights, type);
  list_weights (p, &model->config);
  lay_out (p);
  return vlm_params_bytes (p->params) + p->arena.used;
}

void
vlm_projector_free (VlmProjector *p)
{
  if (!p)
    return;
  vlm_params_free (p->params);
  device_free (p->dev, p->arena.base);
  g_free (p->rows);
  g_free (p->breaks);
  g_free (p);
}

/* Kept rows of the canvas and their cells; a lone tile is one row. */
static void
kept_canvas (const VlmTileGeometry *g, int *n_rows, int *n_cols)
{
  int first_row, first_col;

  *n_rows = 1;
  *n_cols = 0;
  if (g->rows * g->cols > 0)
    vlm_tile_kept (g, &first_row, n_rows, &first_col, n_cols);
}

static int
sequence_features (const VlmProjector *p, const VlmSelection *selection,
    const VlmTileGeometry *g)
{
  return g->zoomed ? g->side * g->side : selection->n + p->n_class_tokens;
}

/* Newlines of the sequence. */
static int
count_newlines (const VlmProjector *p, const VlmSelection *selection,
    const VlmTileGeometry *g)
{
  int n_rows, n_cols;

  if (!p->newlines)
    return 0;
  if (!selection->packed)
    return selection->n_lines;
  kept_canvas (g, &n_rows, &n_cols);
  return n_rows;
}

int
vlm_projector_rows (const VlmProjector *p, const VlmSelection *selection,
    const VlmTileGeometry *geometry)
{
  return sequence_features (p, selection, geometry) +
         count_newlines (p, selection, geometry);
}

/* The feature that the newline of line `y` follows, of n. */
static int
line_end (const VlmProjector *p, int n, const VlmSelection *selection,
    const VlmTileGeometry *g, int y)
{
  int n_rows, n_cols;

  if (!selection->packed)
    return p->n_class_tokens + selection->lines[y];
  kept_canvas (g, &n_rows, &n_cols);
  return n - 1 - (n_rows - 1 - y) * n_cols;
}

/* Feature i goes to row rows[i] of x, a newline after each line's last. */
static void
pack (VlmProjector *p, int n, int n_newlines, const VlmSelection *selection,
    const VlmTileGeometry *geometry, int first)
{
  int row = first, done = 0;

  for (int y = 0; y < n_newlines; y++) {
    int end = line_end (p, n, selection, geometry, y);

    while (done <= end)
      p->rows[done++] = row++;
    p->breaks[y] = row++;
  }
  while (done < n)
    p->rows[done++] = row++;
}

/* The n rows of features from row i on to y [n,D], which is what the epilogue
 * makes it. */
static void
project (VlmProjector *p, void *y, const Act *features, int i, int n,
    Epilogue epilogue)
{
  const Ops *op = p->dev->op;
  const Act *x = act_at (p->dev, features, (gsize) i * p->width_in);

  op->matmul (p->dev, p->hidden, x, &p->linear_1, n, p->activation);
  op->matmul (p->dev, y, p->hidden, &p->linear_2, n, epilogue);
}

static void
run_packed (
    VlmProjector *p, const Act *features, int n, Residual *x, int n_newlines)
{
  const Ops *op = p->dev->op;
  gsize bytes = p->width * sizeof *x;

  device_upload (p->dev, p->dev_rows, p->rows, n * sizeof (int));
  device_upload (p->dev, p->dev_newlines, p->breaks, n_newlines * sizeof (int));
  for (int i = 0; i < n; i += BLOCK) {
    int count = MIN (BLOCK, n - i);

    project (p, p->out, features, i, count, EPILOGUE_WIDE);
    op->scatter_rows (p->dev, x, p->out, p->dev_rows + i, count, bytes);
  }
  op->fill_rows (p->dev, x, p->newline, p->dev_newlines, n_newlines, bytes);
}

void
vlm_projector_run (VlmProjector *p, const Act *features,
    const VlmSelection *selection, const VlmTileGeometry *geometry, Residual *x,
    int first)
{
  int n = sequence_features (p, selection, geometry);
  int n_newlines = count_newlines (p, selection, geometry);

  g_assert (n <= p->max_tokens);
  if (n_newlines) {
    pack (p, n, n_newlines, selection, geometry, first);
    run_packed (p, features, n, x, n_newlines);
    return;
  }
  for (int i = 0; i < n; i += BLOCK)
    project (p, x + (gsize) (first + i) * p->width, features, i,
        MIN (BLOCK, n - i), EPILOGUE_WIDE);
}

void
vlm_projector_run_fine (VlmProjector *p, const Act *features,
    const VlmTileGeometry *g, Act *y, const int *rows)
{
  const Ops *op = p->dev->op;
  int n = g->rows * g->cols * g->side * g->side, base = g->side * g->side;

  g_assert (g->zoomed && n <= p->max_tokens);
  device_upload (p->dev, p->dev_rows, rows, n * sizeof (int));
  for (int i = 0; i < n; i += BLOCK) {
    int count = MIN (BLOCK, n - i);

    project (p, p->out, features, base + i, count, EPILOGUE_SET);
    op->scatter_rows (p->dev, y, p->out, p->dev_rows + i, count,
        p->width * p->dev->act_bytes);
  }
}
