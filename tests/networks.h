/* networks.h - the parts of the networks test
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

#include "tests/networks-bed.h"

void networks_add_vision (void);
void networks_add_choice (void);
void networks_add_projector (void);
void networks_add_decoder (void);
void networks_add_sampler (void);
