/* error.c - the engine's error domain
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "engine/error.h"

/* The formatter would put spaces into the quark's name. */
/* clang-format off */
G_DEFINE_QUARK (vlm-error-quark, vlm_error)
/* clang-format on */
