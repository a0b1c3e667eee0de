/* error.h - the engine's error domain
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Messages are whole sentences that name the file, tensor or setting, what
 * was expected and what was found.
 */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

#define VLM_ERROR (vlm_error_quark ())
GQuark vlm_error_quark (void);

typedef enum {
  VLM_ERROR_SETTINGS,   /* a setting is unset, unknown or does not combine */
  VLM_ERROR_NOT_FOUND,  /* folder or file missing */
  VLM_ERROR_OPEN,       /* there, but cannot be read */
  VLM_ERROR_DATA,       /* truncated, bad header, wrong shape, broken JSON */
  VLM_ERROR_WRONG_TYPE, /* not a family, activation, RoPE ... we know */
  VLM_ERROR_DEVICE,     /* device absent, driver too old */
  VLM_ERROR_NO_MEMORY,  /* does not fit: needed and free bytes in the text */
  VLM_ERROR_LOST,       /* the device failed while running */
  VLM_ERROR_REQUEST,    /* this description cannot be done: too long ... */
  VLM_ERROR_CANCELLED,
} VlmError;

G_END_DECLS
