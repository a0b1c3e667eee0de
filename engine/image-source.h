/* image-source.h - a picture's pixels on a device, as RGB
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What is resized is 8-bit RGB in device memory. A picture's planes go there as
 * they came, unless they are there, and the device makes RGB of them, if they
 * are not RGB already.
 */
#pragma once

#include "engine/image.h"

G_BEGIN_DECLS

/* Device memory that grows. */
typedef struct {
  void *data;
  gsize size;
} VlmScratch;

/* Device memory, or NULL with VLM_ERROR_NO_MEMORY naming `what` of a picture.
 * A device keeps a failed allocation as its own failure, so asks first. */
gpointer vlm_image_allocate (
    Device *dev, gsize size, const char *what, GError **error);
gboolean vlm_scratch_reserve (Device *dev, VlmScratch *scratch, gsize size,
    const char *what, GError **error);
void vlm_scratch_clear (Device *dev, VlmScratch *scratch);

/* RGB in device memory; stride: bytes from row to row. */
typedef struct {
  const guint8 *data;
  int width, height;
  gsize stride;
} VlmRgb;

/* Zero is empty. */
typedef struct {
  VlmScratch planes, rgb;
} VlmSource;

/* Brings the picture to the device, padded as the canvas says if that is not
 * NULL. The result is the source's or, of a picture in device memory, may be
 * the picture's, and valid until the next call. Fails with VLM_ERROR_REQUEST if
 * it is no picture, VLM_ERROR_NO_MEMORY. */
gboolean vlm_source_take (VlmSource *source, Device *dev,
    const VlmPicture *picture, const RgbCanvas *canvas, VlmRgb *rgb,
    GError **error);
void vlm_source_clear (VlmSource *source, Device *dev);

G_END_DECLS
