/* cudaGL.h - what gst-cuda 1.22 names of CUDA's header for OpenGL
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

#include "cuda.h"

typedef enum {
  CU_GL_DEVICE_LIST_ALL = 1,
} CUGLDeviceList;
