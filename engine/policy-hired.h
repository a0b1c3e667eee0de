/* policy-hired.h - the part of HiRED that can be tested alone
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

#include <glib.h>
#include "engine/policy.h"

G_BEGIN_DECLS

/* Tile (1 ..) whose area the centre of patch (y,x) of tile 0 lies in. The
 * whole picture is squeezed to a square there, but letterboxed on the grid. */
int vlm_hired_area (const VlmTileGeometry *g, int y, int x);

G_END_DECLS
