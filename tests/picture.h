/* picture.h - pictures, settings and checksums for tests
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

#include <glib.h>

#include "engine/image.h"

/* LLaVA-NeXT with the five standard pinpoints for tiles of T pixels. */
VlmConfig picture_next_config (int T);

/* LLaVA-1.5 with one tile of T pixels. */
VlmConfig picture_single_config (VlmImageMode mode, int T);

/* The deterministic 8-bit picture behind the checksums; rows `stride` bytes
 * apart, the last one cut short after its pixels. Owned by the caller. */
guint8 *picture_new (int width, int height, gsize stride);

/* zlib's */
guint32 picture_crc32 (const guint8 *data, gsize size);
