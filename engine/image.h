/* image.h - a picture to tiles: grid, exact resize, padding
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Bit for bit what transformers' LlavaNextImageProcessor and
 * CLIPImageProcessor give, in the torchvision or the Pillow variant.
 */
#pragma once

#include <glib.h>
#include "engine/model.h"
#include "kernels/ops.h"

G_BEGIN_DECLS

/* Whose 8-bit bicubic antialiased resize is reproduced. */
typedef enum {
  VLM_RESAMPLING_TORCHVISION,
  VLM_RESAMPLING_PILLOW, /* Pillow 13's order of passes */
} VlmResampling;

/* Longest picture side that is taken, and the longest of one that is padded to
 * a square (805 MB). */
#define VLM_MAX_PICTURE_SIDE 32768
#define VLM_MAX_SQUARE_SIDE 16384

/* Most tiles of a picture, the whole one included. Published lists reach 37
 * (LLaVA-OneVision, 6x6). */
#define VLM_MAX_TILES 64

/* Where the tiles lie. Tile 0 is the whole image squeezed to a square; tile
 * 1 + r*cols + c is part (r,c) of the image fitted, centred and padded.
 * FlexAttention has no pixels of tile 0, which is shrunk from the others.
 * Models of one tile (LLaVA-1.5) have rows = cols = 0; when they crop, fit is
 * what the crop is taken from and pad is negative. */
typedef struct {
  int side, tile_px; /* patches (g) and pixels (T) per tile side */
  int rows, cols;    /* 0, 0: one tile only */
  int img_h, img_w;  /* the picture, in square pixels */
  int fit_h, fit_w;  /* resized with its aspect kept */
  int pad_y, pad_x;  /* padding above and left of it */
  gboolean unpad;    /* packing drops the padding */
  gboolean zoomed;   /* FlexAttention: only tile 0 is in the sequence */
} VlmTileGeometry;

/* Where a picture's pixels are. */
typedef enum {
  VLM_MEMORY_HOST,
  VLM_MEMORY_DEVICE,  /* in the engine's device: read in place */
  VLM_MEMORY_FOREIGN, /* in another context or GPU that can be copied from */
} VlmMemory;

/* A picture, borrowed: 8-bit RGB in host memory at data, stride bytes from row
 * to row, or whatever `pixels` says (of the same width and height) if that is
 * set, and then data and stride are not used. pixel_aspect_n/d: width to
 * height of one pixel (1/1: square). */
typedef struct {
  const guint8 *data;
  int width, height;
  gsize stride;
  int pixel_aspect_n, pixel_aspect_d;
  const Pixels *pixels; /* see kernels/ops.h; NULL: RGB */
  VlmMemory memory;     /* of pixels' planes */
} VlmPicture;

static inline int
vlm_tile_count (const VlmTileGeometry *g)
{
  return 1 + g->rows * g->cols;
}

/* Size the picture would have with square pixels, the height kept: what
 * vlm_tile_geometry wants. Fails with VLM_ERROR_REQUEST on a size or aspect
 * that is not positive. */
gboolean vlm_picture_square_size (
    const VlmPicture *picture, int *width, int *height, GError **error);

/* Chooses the grid (transformers' select_best_resolution) and lays out the
 * tiles of a picture of width x height square pixels. Fails with
 * VLM_ERROR_REQUEST on sides outside 1..VLM_MAX_PICTURE_SIDE (or
 * VLM_MAX_SQUARE_SIDE) and on grids of more than VLM_MAX_TILES. */
gboolean vlm_tile_geometry (VlmTileGeometry *geometry, const VlmConfig *config,
    int width, int height, GError **error);

/* Rows and columns of the canvas (rows*side x cols*side) that packing keeps:
 * unpadding as in modeling_llava_next.py's unpad_image, in integers. Nothing
 * may be left of one axis (1x5000): packing then has newlines only. */
void vlm_tile_kept (const VlmTileGeometry *g, int *first_row, int *n_rows,
    int *first_col, int *n_cols);

/* Image tokens of the undropped picture: base tile, class token if the model
 * keeps it, canvas, a newline per row of it if the model has one. */
int vlm_tile_image_tokens (const VlmTileGeometry *g, const VlmConfig *config);

/* Where each token stands among those, counted from `first`: place[P*(N+1)+1]
 * by token id (policy.h). A patch of the padding stands where the nearest does
 * that is packed, a class token where its tile begins; the last entry is the
 * last place, that of a sum that has none of its own. */
void vlm_tile_places (
    const VlmTileGeometry *g, const VlmConfig *config, int first, int *place);

/* Where the newline stands that closes the line in which the token at `place`
 * of the canvas stands, counted as there. */
int vlm_tile_line_end (
    const VlmTileGeometry *g, const VlmConfig *config, int first, int place);

typedef struct VlmTiler VlmTiler; /* caches tables and scratch of one device */

VlmTiler *vlm_tiler_new (
    Device *dev, const VlmConfig *config, VlmResampling resampling);
void vlm_tiler_free (VlmTiler *tiler);

/* Makes the tiles [t,T,T,3] of a picture in device memory owned by the tiler,
 * valid until the next call; `geometry` is that of the picture's square size.
 * The resize goes from the real pixels to the fitted size in one step. Grows
 * its scratch and tables when sizes change, never otherwise. Fails with
 * VLM_ERROR_REQUEST on a picture that is not one (no data, stride shorter
 * than a row, planes that do not fit together), VLM_ERROR_NO_MEMORY when
 * scratch does not fit. */
const guint8 *vlm_tiler_run (VlmTiler *tiler, const VlmPicture *picture,
    const VlmTileGeometry *geometry, GError **error);

/* The byte -> normalised float table [3,256] (device memory): float32 steps
 * in the order the chosen processor takes them. */
const float *vlm_tiler_lut (const VlmTiler *tiler);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (VlmTiler, vlm_tiler_free)

G_END_DECLS
