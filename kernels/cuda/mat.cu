/* mat.cu - weight matrices: their size, made from the host's numbers, freed
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A matrix is stored in the type of the activations, after its numbers were
 * rounded to the wanted one: both factors of a product are alike. Bound by the
 * way to the GPU.
 */
#include "kernels/cuda/common.cuh"

#define THREADS 256
#define PIECE ((size_t) 1 << 18) /* numbers converted at a time */

static size_t
mat_bytes (Device *dev, DataType, DataType, int rows, int cols)
{
  size_t bias = rows * (sizeof (float) + dev->act_bytes);
  return bias + dev->act_bytes * rows * cols;
}

static void
mat_clear (Device *dev, Mat *w)
{
  device_free (dev, (void *) w->data);
  device_free (dev, w->bias);
  device_free (dev, w->pack);
  *w = Mat ();
}

/* y = x rounded to `want` and stored as T. */
template <typename T, typename From>
__global__ void
__launch_bounds__ (THREADS)
    convert_kernel (T *y, const From *x, size_t n, DataType want)
{
  size_t i = (size_t) blockIdx.x * THREADS + threadIdx.x;
  if (i >= n)
    return;
  float value = to_float (x[i]);
  if (want == TYPE_BF16)
    value = to_float (__float2bfloat16 (value));
  else if (want == TYPE_F16)
    value = to_float (__float2half (value));
  store (&y[i], value);
}

/* As activations, `want` being what the values are rounded to. They go up as
 * they are, to scratch, and are converted there. */
static void
upload_converted (Device *dev, void *dst, DataType want, const void *src,
    DataType src_type, size_t count)
{
  size_t bytes = data_type_bytes (src_type);
  void *piece = cuda_scratch (dev, PIECE * bytes);
  for (size_t done = 0; piece && done < count; done += PIECE) {
    size_t n = count - done < PIECE ? count - done : PIECE;
    device_upload (dev, piece, (const char *) src + done * bytes, n * bytes);
    with_act (dev, [&] (auto act) {
      typedef decltype (act) T;
      with_type (src_type, [&] (auto number) {
        typedef decltype (number) From;
        LAUNCH ((convert_kernel<T, From>), blocks_for (n, THREADS), THREADS, 0,
            cuda_stream (dev), (T *) dst + done, (const From *) piece, n, want);
      });
    });
  }
  cuda_launched (dev, "converting weights");
}

/* The bias as f32 for own kernels, as activations for cuBLASLt. */
static bool
upload_bias (Device *dev, Mat *w, const float *bias)
{
  w->bias = (float *) device_alloc (dev, w->rows * sizeof (float));
  if (!w->bias)
    return false;
  device_upload (dev, w->bias, bias, w->rows * sizeof (float));
  if (w->type == TYPE_F32)
    return true;
  w->pack = device_alloc (dev, w->rows * dev->act_bytes);
  if (!w->pack)
    return false;
  upload_converted (dev, w->pack, dev->act_type, bias, TYPE_F32, w->rows);
  return true;
}

static void
mat_init (Device *dev, Mat *w, DataType want, const void *src,
    DataType src_type, int rows, int cols, const float *bias)
{
  size_t count = (size_t) rows * cols;
  *w = Mat ();
  w->type = dev->act_type;
  w->rows = rows;
  w->cols = cols;
  w->owns_data = 1;
  void *data = device_alloc (dev, count * dev->act_bytes);
  w->data = data;
  if (!data || (bias && !upload_bias (dev, w, bias))) {
    mat_clear (dev, w);
    return;
  }
  if (w->type == src_type && want == src_type)
    device_upload (dev, data, src, count * dev->act_bytes);
  else
    upload_converted (dev, data, want, src, src_type, count);
  /* Products fetch weights before they wait for the kernels before them. */
  cuda_wait (dev, "making a matrix");
}

void
cuda_init_mat (Ops *op)
{
  op->mat_init = mat_init;
  op->mat_clear = mat_clear;
  op->mat_bytes = mat_bytes;
}
