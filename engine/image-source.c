/* image-source.c - a picture's pixels on a device, as RGB
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "engine/image-source.h"

#include "engine/error.h"

#define N_PLANES 3
#define ALIGNMENT 256

/* ---- memory ---- */

gpointer
vlm_image_allocate (Device *dev, gsize size, const char *what, GError **error)
{
  gsize available = device_memory_free (dev);
  gpointer data = size <= available ? device_alloc (dev, size) : NULL;

  if (!data)
    vlm_fail (error, VLM_ERROR_NO_MEMORY,
        VLM_ABOUT (.needed_bytes = size, .free_bytes = available),
        "The %s of a picture needs %zu bytes, but only %zu are free on %s.",
        vlm_text (what), size, available, dev->name);
  return data;
}

gboolean
vlm_scratch_reserve (Device *dev, VlmScratch *scratch, gsize size,
    const char *what, GError **error)
{
  if (size <= scratch->size)
    return TRUE;
  vlm_scratch_clear (dev, scratch);
  scratch->data = vlm_image_allocate (dev, size, what, error);
  if (!scratch->data)
    return FALSE;
  scratch->size = size;
  return TRUE;
}

void
vlm_scratch_clear (Device *dev, VlmScratch *scratch)
{
  device_free (dev, scratch->data);
  *scratch = (VlmScratch){ 0 };
}

/* ---- what a picture is ---- */

static Pixels
pixels_of (const VlmPicture *picture)
{
  if (picture->pixels)
    return *picture->pixels;
  return (Pixels){
    .plane = { picture->data },
    .stride = { picture->stride },
    .part = { { 0, 0, 3 }, { 0, 1, 3 }, { 0, 2, 3 } },
    .width = picture->width,
    .height = picture->height,
    .bytes = 1,
    .is_rgb = TRUE,
  };
}

/* The bytes of its planes that a picture needs. */
typedef struct {
  gsize row, n_rows;
} Extent;

static gsize
extent_bytes (const Pixels *p, const Extent *extent, int plane)
{
  return extent->n_rows == 0
             ? 0
             : (extent->n_rows - 1) * p->stride[plane] + extent->row;
}

static gboolean
is_quarters (const int near[2])
{
  return near[0] >= 0 && near[0] <= 4 && near[1] >= 0 && near[1] <= 4;
}

static gboolean
measure (const Pixels *p, Extent extent[N_PLANES])
{
  if ((p->bytes != 1 && p->bytes != 2) || (p->shift_x | p->shift_y) & ~1 ||
      !is_quarters (p->near_x) || !is_quarters (p->near_y) || p->skip_x < 0 ||
      p->skip_y < 0 || p->skip_x > VLM_MAX_PICTURE_SIDE ||
      p->skip_y > VLM_MAX_PICTURE_SIDE)
    return FALSE;
  for (int c = 0; c < 3; c++) {
    const PixelPart *part = &p->part[c];
    int shift_x = c ? p->shift_x : 0, shift_y = c ? p->shift_y : 0;
    gsize last = (gsize) (p->skip_x + p->width - 1) >> shift_x;
    gsize n_rows = ((gsize) (p->skip_y + p->height - 1) >> shift_y) + 1;

    if (part->plane < 0 || part->plane >= N_PLANES || part->offset < 0 ||
        part->step < p->bytes || !p->plane[part->plane])
      return FALSE;
    Extent *e = &extent[part->plane];
    e->row = MAX (e->row, part->offset + last * part->step + p->bytes);
    e->n_rows = MAX (e->n_rows, n_rows);
    if (p->stride[part->plane] < e->row)
      return FALSE;
  }
  return TRUE;
}

static gboolean
check_picture (const VlmPicture *picture, const Pixels *pixels,
    Extent extent[N_PLANES], GError **error)
{
  int most = VLM_MAX_PICTURE_SIDE;

  if (picture->width >= 1 && picture->height >= 1 && picture->width <= most &&
      picture->height <= most && pixels->width == picture->width &&
      pixels->height == picture->height && measure (pixels, extent))
    return TRUE;
  vlm_fail (error, VLM_ERROR_REQUEST, NULL,
      "The picture is %dx%d pixels with %zu bytes a row, expected sides of 1 "
      "to %d and rows that hold them.",
      picture->width, picture->height, pixels->stride[0], most);
  return FALSE;
}

/* ---- the way to the device ---- */

/* Copies the planes, from the host or wherever they are. */
static gboolean
fetch (VlmSource *source, Device *dev, Pixels *pixels, VlmMemory memory,
    const Extent extent[N_PLANES], GError **error)
{
  gsize at[N_PLANES], size = 0;

  for (int i = 0; i < N_PLANES; i++) {
    at[i] = size;
    size += (extent_bytes (pixels, &extent[i], i) + ALIGNMENT - 1) / ALIGNMENT *
            ALIGNMENT;
  }
  if (!vlm_scratch_reserve (dev, &source->planes, size, "copy", error))
    return FALSE;
  for (int i = 0; i < N_PLANES; i++) {
    guint8 *to = (guint8 *) source->planes.data + at[i];

    gsize bytes = extent_bytes (pixels, &extent[i], i);

    if (bytes > 0 && memory == VLM_MEMORY_HOST)
      device_upload (dev, to, pixels->plane[i], bytes);
    else if (bytes > 0)
      dev->op->copy (dev, to, pixels->plane[i], bytes);
    pixels->plane[i] = to;
  }
  return TRUE;
}

static gboolean
is_packed_rgb (const Pixels *p)
{
  for (int c = 0; c < 3; c++)
    if (p->part[c].plane || p->part[c].step != 3 || p->part[c].offset != c)
      return FALSE;
  return p->is_rgb;
}

static gboolean
convert (VlmSource *source, Device *dev, const Pixels *pixels,
    const RgbCanvas *canvas, VlmRgb *rgb, GError **error)
{
  gsize stride = (gsize) 3 * canvas->width;

  if (!vlm_scratch_reserve (
          dev, &source->rgb, stride * canvas->height, "colours", error))
    return FALSE;
  dev->op->to_rgb (dev, source->rgb.data, pixels, canvas);
  *rgb = (VlmRgb){ source->rgb.data, canvas->width, canvas->height, stride };
  return TRUE;
}

gboolean
vlm_source_take (VlmSource *source, Device *dev, const VlmPicture *picture,
    const RgbCanvas *canvas, VlmRgb *rgb, GError **error)
{
  Pixels pixels = pixels_of (picture);
  Extent extent[N_PLANES] = { 0 };
  RgbCanvas whole = { picture->width, picture->height };
  VlmMemory memory = picture->pixels ? picture->memory : VLM_MEMORY_HOST;

  if (!check_picture (picture, &pixels, extent, error) ||
      (memory != VLM_MEMORY_DEVICE &&
          !fetch (source, dev, &pixels, memory, extent, error)))
    return FALSE;
  if (canvas || !is_packed_rgb (&pixels))
    return convert (source, dev, &pixels, canvas ? canvas : &whole, rgb, error);
  *rgb = (VlmRgb){
    .data = pixels.plane[0] + pixels.skip_y * pixels.stride[0] +
            (gsize) 3 * pixels.skip_x,
    .width = pixels.width,
    .height = pixels.height,
    .stride = pixels.stride[0],
  };
  return TRUE;
}

void
vlm_source_clear (VlmSource *source, Device *dev)
{
  vlm_scratch_clear (dev, &source->planes);
  vlm_scratch_clear (dev, &source->rgb);
}
