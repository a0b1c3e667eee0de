/* tidal.h - the parts of the tidal test
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

#include "tests/networks-bed.h"

void tidal_add_attention (void);
void tidal_add_decoder (void);
