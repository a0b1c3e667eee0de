/* fine.h - FlexAttention's second, finer look at a picture
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A picture is encoded twice: as g x g tokens, which are in the sequence, and
 * in zoom x zoom tiles as G x G fine ones (G = zoom g), which are not. From
 * the first hierarchical layer on (layer 9, as released) the newest token of a
 * sequence attends to its own keys and, in the same softmax, to the fine keys
 * of a selection: each layer from the one before on makes it for the next, from
 * how much that token attends to the g x g.
 *
 * The selection is of cells, 9 along a side. Fine keys and values lie cell
 * after cell in pages of their own behind those of the pool. Where a cell is a
 * whole number of pages (G a multiple of 72, as released) a selection is a page
 * list, else a list of keys. A cell is filled in a layer when that layer first
 * selects it: features and rotation do not change while a text is written, so
 * nothing is computed twice.
 *
 * Source: the FlexAttention paper (Li et al., ECCV 2024) and its released
 * LlamaAttention, which computes the keys anew for every token.
 */
#pragma once

#include "engine/model.h"
#include "kernels/ops.h"

G_BEGIN_DECLS

#define VLM_FINE_SIDE 9 /* cells along a side */
#define VLM_FINE_CELLS (VLM_FINE_SIDE * VLM_FINE_SIDE)

/* What the selection and the rotation of fine keys depend on. */
typedef struct {
  int side, fine_side; /* g, G */
  int begin;           /* the sequence's first image token */
  int width, height;   /* of the picture before it was padded to a square */
  int threshold;       /* 0 to 255 */
} VlmFineView;

/* The cells that a map lights: map[g*g] is how much a token attends to each
 * image token, summed over heads. Padding is taken out, the map stretched to
 * 0..1, and a cell is lit where any of its image tokens times 255 exceeds the
 * threshold; neighbouring cells share tokens. A map of equal values lights
 * none. Returns how many. */
int vlm_fine_select (
    const VlmFineView *view, const float *map, guint8 lit[VLM_FINE_CELLS]);

/* Rows and columns of padding along the picture's longer side, at either end.
 */
int vlm_fine_margin (const VlmFineView *view);

/* Where fine token (y, x) lies among [G*G]: cell after cell, in each line
 * after line. It is of the cell (9 y div G, 9 x div G). */
int vlm_fine_row (const VlmFineView *view, int y, int x);

/* A cell's part of that order. */
typedef struct {
  int first, n; /* n is 0 for some if G < 9 */
} VlmFineCell;

VlmFineCell vlm_fine_cell (int fine_side, int cell);

/* The rotation of fine keys, as Ops.rope takes it, [G*G,c] in vlm_fine_row's
 * order: cosines and sines of the image tokens' positions, each resized from
 * g x g to G x G by bicubic interpolation (a = -3/4, edges repeated). They
 * are no cosines and sines of an angle any more; the model has learned with
 * them. `length` is the prompt's, for RoPE that depends on it. */
void vlm_fine_rope (const VlmTextConfig *text, const VlmFineView *view,
    int length, float *table);

/* ---- memory ---- */

typedef struct VlmFineStore VlmFineStore;

/* When a cell's keys and values are computed. */
typedef enum {
  VLM_FINE_LAZY, /* when a layer first selects it */
  VLM_FINE_FULL, /* all of them with the first token */
  VLM_FINE_NONE, /* for every token anew, as the release does; for tests */
} VlmFineFill;

/* One picture's. */
typedef struct {
  VlmFineStore *store;
  gboolean taken;
  VlmFineView view;
  Act *features;  /* [G*G,D], projected, in vlm_fine_row's order */
  float *rope;    /* [G*G,c] */
  int first_page; /* row r is in page first_page + r div KV_PAGE_TOKENS */
  guint8 *filled; /* [layers,VLM_FINE_CELLS] */
  guint8 lit[VLM_FINE_CELLS]; /* by the layer before */
  int n_lit;
  int n_keys;        /* in the lit cells */
  int steps;         /* tokens that selected */
  guint64 *selected; /* [layers] fine keys attended to in all steps */
} VlmFine;

struct VlmFineStore {
  Device *dev;
  VlmTextConfig text; /* its windows are not used */
  VlmFineFill fill;
  int layer;      /* the first hierarchical one */
  gboolean paged; /* cells are whole pages */
  VlmFineCell cells[VLM_FINE_CELLS];
  int most; /* tokens of a cell */
  int n_pictures;
  VlmFine *pictures;       /* [n_pictures] */
  void *memory;            /* of all features and tables */
  float *host_rope;        /* [G*G,c] */
  int list_pages;          /* of all sequences and cells */
  int *host_list, *list;   /* [list_pages] page lists of a layer */
  int *host_keys, *keys;   /* unless paged: [h,list_pages*KV_PAGE_TOKENS] lists
                            * of keys, as Ops.attention_listed has them */
  int *host_slots, *slots; /* [G*G] */
};

/* Pages that one picture needs in each hierarchical layer, or 0. */
int vlm_fine_pages (const VlmConfig *config);

/* Device bytes for a picture, its pages in the cache included; and for every
 * page of the pool. 0 of other families. */
guint64 vlm_fine_bytes (const Device *dev, const VlmConfig *config);
guint64 vlm_fine_page_bytes (const VlmConfig *config);

/* For n_pictures at once, whose pages come after the pool's n_pages. */
VlmFineStore *vlm_fine_store_new (Device *dev, const VlmConfig *config,
    int n_pictures, int n_pages, GError **error);
void vlm_fine_store_free (VlmFineStore *store);

/* One that is free, with nothing left in it of whoever had it before, or
 * NULL. */
VlmFine *vlm_fine_take (VlmFineStore *store);
void vlm_fine_give (VlmFine *fine); /* accepts NULL */

/* Rows of `features` by fine token, line after line; [G*G], the store's. */
const int *vlm_fine_rows (VlmFine *fine);

/* The picture is in a prompt of `length` tokens, from `begin` on. */
void vlm_fine_begin (
    VlmFine *fine, int begin, int width, int height, int length);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (VlmFineStore, vlm_fine_store_free)

G_END_DECLS
