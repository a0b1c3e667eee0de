/* pixels.cu - pictures of video to RGB, exact
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The integers of kernels/cpu/pixels.c, a thread a pixel of the canvas.
 */
#include "kernels/cuda/common.cuh"

#define COLUMNS 32
#define ROWS 8
#define MAX_GRID_Y 65535

static __device__ __forceinline__ int
sample (const Pixels &p, int part, int y, int x)
{
  const PixelPart &at = p.part[part];
  const uint8_t *s = p.plane[at.plane] + y * p.stride[at.plane] + at.offset +
                     (size_t) x * at.step;
  return p.bytes == 1 ? s[0] : s[0] | s[1] << 8;
}

struct Near {
  int i, other, weight;
};

static __device__ __forceinline__ Near
near_of (int x, int size, int shift, const int near[2])
{
  if (!shift)
    return { x, x, 0 };
  int i = x >> 1, other = x & 1 ? i + 1 : i - 1;
  return { i, min (max (other, 0), (size - 1) >> 1), near[x & 1] };
}

static __device__ __forceinline__ int
blend (int a, int b, int weight)
{
  return ((4 - weight) * a + weight * b + 2) >> 2;
}

static __device__ __forceinline__ int
blended_row (const Pixels &p, int part, int y, const Near &x)
{
  int a = sample (p, part, y, x.i);
  return x.weight ? blend (a, sample (p, part, y, x.other), x.weight) : a;
}

static __device__ __forceinline__ int
blended (const Pixels &p, int part, const Near &y, const Near &x)
{
  int a = blended_row (p, part, y.i, x);
  return y.weight ? blend (a, blended_row (p, part, y.other, x), y.weight) : a;
}

static __device__ __forceinline__ uint8_t
weighed (const int32_t m[4], int a, int b, int c)
{
  int32_t sum = m[0] * a + m[1] * b + m[2] * c + m[3];
  sum = (sum + (1 << (PIXELS_PRECISION - 1))) >> PIXELS_PRECISION;
  return (uint8_t) min (max (sum, 0), 255);
}

static __device__ __forceinline__ void
pixel (uint8_t rgb[3], const Pixels &p, int y, int x)
{
  Near ny = near_of (y, p.skip_y + p.height, p.shift_y, p.near_y);
  Near nx = near_of (x, p.skip_x + p.width, p.shift_x, p.near_x);
  int a = sample (p, 0, y, x), b = blended (p, 1, ny, nx),
      c = blended (p, 2, ny, nx);
  rgb[0] = p.is_rgb ? (uint8_t) a : weighed (p.matrix[0], a, b, c);
  rgb[1] = p.is_rgb ? (uint8_t) b : weighed (p.matrix[1], a, b, c);
  rgb[2] = p.is_rgb ? (uint8_t) c : weighed (p.matrix[2], a, b, c);
}

__global__ void
to_rgb_kernel (uint8_t *dst, const Pixels p, const RgbCanvas canvas)
{
  int column = blockIdx.x * COLUMNS + threadIdx.x, x = column - canvas.left;
  if (column >= canvas.width)
    return;
  for (int row = blockIdx.y * ROWS + threadIdx.y; row < canvas.height;
       row += gridDim.y * ROWS) {
    uint8_t *rgb = dst + 3 * ((size_t) row * canvas.width + column);
    int y = row - canvas.top;
    bool inside = x >= 0 && x < p.width && y >= 0 && y < p.height;
    if (inside)
      pixel (rgb, p, y + p.skip_y, x + p.skip_x);
    else
      for (int c = 0; c < 3; c++)
        rgb[c] = canvas.colour[c];
  }
}

static void
to_rgb (Device *dev, uint8_t *dst, const Pixels *src, const RgbCanvas *canvas)
{
  if (canvas->width <= 0 || canvas->height <= 0)
    return;
  unsigned rows = blocks_for (canvas->height, ROWS);
  LAUNCH (to_rgb_kernel,
      dim3 (blocks_for (canvas->width, COLUMNS),
          rows < MAX_GRID_Y ? rows : MAX_GRID_Y),
      dim3 (COLUMNS, ROWS), 0, cuda_stream (dev), dst, *src, *canvas);
  cuda_launched (dev, "to_rgb");
}

void
cuda_init_pixels (Ops *op)
{
  op->to_rgb = to_rgb;
}
