/* image.cu - separable 8-bit resize and patches, exact
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The integers of kernels/cpu/resize.c: a 32-bit sum of pixel times weight,
 * shifted and clamped, so every bit agrees.
 */
#include "kernels/cuda/common.cuh"

#define THREADS 256

/* The axis by value; its tables are device memory. */
typedef struct Axis {
  const int *first, *n_taps;
  const int32_t *weight;
  int n_out, max_taps, precision;
} Axis;

static Axis
axis_of (const ResizeAxis *a)
{
  Axis axis = { a->first, a->n_taps, a->weight, a->n_out, a->max_taps,
    a->precision };
  return axis;
}

static __device__ __forceinline__ uint8_t
to_byte (int32_t sum, int precision)
{
  return (uint8_t) min (max (sum >> precision, 0), 255);
}

/* Sum over an output's taps; src at the first tap. */
static __device__ __forceinline__ uint8_t
weigh (const Axis &axis, int i, const uint8_t *src, size_t step)
{
  const int32_t *w = axis.weight + (size_t) i * axis.max_taps;
  int32_t sum = 1 << (axis.precision - 1);
  for (int t = 0; t < axis.n_taps[i]; t++)
    sum += w[t] * src[t * step];
  return to_byte (sum, axis.precision);
}

/* A thread per output byte; blockIdx.y is the row. */
__global__ void
resize_rows_kernel (
    uint8_t *dst, const uint8_t *src, size_t src_stride, int n, Axis axis)
{
  int at = blockIdx.x * THREADS + threadIdx.x, i = at / 3;
  if (i >= axis.n_out)
    return;
  for (int y = blockIdx.y; y < n; y += gridDim.y)
    dst[(size_t) y * axis.n_out * 3 + at] =
        weigh (axis, i, src + y * src_stride + 3 * axis.first[i] + at % 3, 3);
}

__global__ void
resize_columns_kernel (
    uint8_t *dst, const uint8_t *src, size_t src_stride, int count, Axis axis)
{
  int at = blockIdx.x * THREADS + threadIdx.x;
  if (at >= count)
    return;
  for (int i = blockIdx.y; i < axis.n_out; i += gridDim.y)
    dst[(size_t) i * count + at] =
        weigh (axis, i, src + axis.first[i] * src_stride + at, src_stride);
}

#define MAX_GRID_Y 65535

static dim3
grid_of (int columns, int rows)
{
  return dim3 (
      blocks_for (columns, THREADS), rows < MAX_GRID_Y ? rows : MAX_GRID_Y);
}

static void
resize_rows (Device *dev, uint8_t *dst, const uint8_t *src, size_t src_stride,
    int n, const ResizeAxis *axis)
{
  if (n <= 0 || axis->n_out <= 0)
    return;
  LAUNCH (resize_rows_kernel, grid_of (3 * axis->n_out, n), THREADS, 0,
      cuda_stream (dev), dst, src, src_stride, n, axis_of (axis));
  cuda_launched (dev, "resize_rows");
}

static void
resize_columns (Device *dev, uint8_t *dst, const uint8_t *src,
    size_t src_stride, int width, const ResizeAxis *axis)
{
  if (width <= 0 || axis->n_out <= 0)
    return;
  LAUNCH (resize_columns_kernel, grid_of (3 * width, axis->n_out), THREADS, 0,
      cuda_stream (dev), dst, src, src_stride, 3 * width, axis_of (axis));
  cuda_launched (dev, "resize_columns");
}

/* A block per patch, its threads over (channel, y, x). */
template <typename T>
__global__ void
patches_kernel (T *y, const uint8_t *tiles, const float *lut, int side, int p)
{
  int g = side / p, tile = blockIdx.x / (g * g), at = blockIdx.x % (g * g);
  const uint8_t *corner =
      tiles + (((size_t) tile * side + at / g * p) * side + at % g * p) * 3;
  y += (size_t) blockIdx.x * 3 * p * p;
  for (int i = threadIdx.x; i < 3 * p * p; i += blockDim.x) {
    int channel = i / (p * p), row = i / p % p, column = i % p;
    uint8_t byte = corner[((size_t) row * side + column) * 3 + channel];
    store (&y[i], lut[256 * channel + byte]);
  }
}

static void
patches (Device *dev, Act *y, const uint8_t *tiles, const float *lut, int t,
    int side, int p)
{
  int g = side / p;
  if (t * g == 0)
    return;
  with_act (dev, [&] (auto act) {
    typedef decltype (act) T;
    LAUNCH (patches_kernel<T>, t * g * g, THREADS, 0, cuda_stream (dev),
        (T *) y, tiles, lut, side, p);
  });
  cuda_launched (dev, "patches");
}

/* Output i's weight of input z*i+d: positive inside the filter. */
static __device__ __forceinline__ int
nearness (int d, int z)
{
  return 2 * z - abs (2 * d + 1 - z);
}

/* A block per patch; each axis' weights are normalised before they multiply,
 * in the order of kernels/cpu/patches.c. */
template <typename T>
__global__ void
shrunk_patches_kernel (
    T *y, const uint8_t *tiles, const float *lut, int z, int side, int p)
{
  int g = side / p, top = blockIdx.x / g * p, left = blockIdx.x % g * p;
  y += (size_t) blockIdx.x * 3 * p * p;
  for (int i = threadIdx.x; i < 3 * p * p; i += blockDim.x) {
    int channel = i / (p * p), oy = top + i / p % p, ox = left + i % p;
    int y0 = max (z * oy - z / 2, 0), x0 = max (z * ox - z / 2, 0);
    int y1 = min (z * oy + z + z / 2, z * side);
    int x1 = min (z * ox + z + z / 2, z * side);
    int sum_y = 0, sum_x = 0;
    for (int v = y0; v < y1; v++)
      sum_y += nearness (v - z * oy, z);
    for (int u = x0; u < x1; u++)
      sum_x += nearness (u - z * ox, z);
    float value = 0;
    for (int v = y0; v < y1; v++) {
      float line = 0;
      for (int u = x0; u < x1; u++) {
        size_t tile = (size_t) (v / side) * z + u / side;
        size_t at = (tile * side + v % side) * side + u % side;
        line += (float) nearness (u - z * ox, z) / (float) sum_x *
                lut[256 * channel + tiles[3 * at + channel]];
      }
      value += (float) nearness (v - z * oy, z) / (float) sum_y * line;
    }
    store (&y[i], value);
  }
}

static void
shrunk_patches (Device *dev, Act *y, const uint8_t *tiles, const float *lut,
    int z, int side, int p)
{
  int g = side / p;
  if (g == 0)
    return;
  with_act (dev, [&] (auto act) {
    typedef decltype (act) T;
    LAUNCH (shrunk_patches_kernel<T>, g * g, THREADS, 0, cuda_stream (dev),
        (T *) y, tiles, lut, z, side, p);
  });
  cuda_launched (dev, "shrunk_patches");
}

void
cuda_init_image (Ops *op)
{
  op->shrunk_patches = shrunk_patches;
  op->resize_rows = resize_rows;
  op->resize_columns = resize_columns;
  op->patches = patches;
}
