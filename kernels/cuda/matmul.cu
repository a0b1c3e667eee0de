/* matmul.cu - which way a product goes, embed
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "kernels/cuda/common.cuh"

#define THREADS 256

/* y = epilogue (y), in place, N numbers a thread. */
template <typename T, int N>
__global__ void
__launch_bounds__ (THREADS)
    finish_kernel (Some<T, N> *y, size_t count, Epilogue epilogue)
{
  size_t i = (size_t) blockIdx.x * THREADS + threadIdx.x;
  if (i >= count)
    return;
  Some<T, N> some = y[i];
  for (int k = 0; k < N; k++)
    store (&some.v[k], apply<T> (epilogue, 0, to_float (some.v[k])));
  y[i] = some;
}

template <typename T, int N>
static void
launch_finish (Device *dev, T *y, size_t count, Epilogue epilogue)
{
  LAUNCH ((finish_kernel<T, N>), blocks_for (count / N, THREADS), THREADS, 0,
      cuda_stream (dev), (Some<T, N> *) y, count / N, epilogue);
}

static void
finish (Device *dev, Act *y, size_t count, Epilogue epilogue)
{
  with_act (dev, [&] (auto act) {
    typedef decltype (act) T;
    constexpr int N = 16 / sizeof (T);
    if (count % N == 0 && is_aligned (y))
      launch_finish<T, N> (dev, (T *) y, count, epilogue);
    else
      launch_finish<T, 1> (dev, (T *) y, count, epilogue);
  });
  cuda_launched (dev, "a product's epilogue");
}

/* cuBLASLt adds bias and residual. GELUs are done in place behind it: its own
 * is the approximation by tanh, not erf, and it has no quick one. False, and
 * nothing is done, if it has no algorithm. */
static bool
multiply_many (Device *dev, int lane, const MatProduct *p, const Act *x, int n)
{
  const Mat *w = p->w;
  bool wide = epilogue_is_wide (p->epilogue);
  DataType out = wide ? TYPE_F32 : dev->act_type;
  const void *bias = out == TYPE_F32 ? w->bias : w->pack;
  if (!cuda_blas_matmul (dev, lane, p->y, out, x, w->data, bias, w->type, n,
          w->rows, w->cols, p->epilogue == EPILOGUE_ADD))
    return false;
  if (p->epilogue == EPILOGUE_GELU || p->epilogue == EPILOGUE_QUICK_GELU)
    finish (dev, p->y, (size_t) n * w->rows, p->epilogue);
  return true;
}

static void
matmul (
    Device *dev, void *y, const Act *x, const Mat *w, int n, Epilogue epilogue)
{
  MatProduct product = { y, w, epilogue };
  if (n <= CUDA_FEW_ROWS || !multiply_many (dev, 0, &product, x, n))
    cuda_few_rows (dev, &product, 1, x, dev->act_type, n);
}

/* The streams beside that of all ops wait for what is on it, or it for them. */
static void
fork (Device *dev, int count)
{
  Cuda *cuda = cuda_of (dev);
  cuda_check (dev, cudaEventRecord (cuda->forked, cuda_stream (dev)), "a fork");
  for (int i = 0; i < count; i++)
    cuda_check (
        dev, cudaStreamWaitEvent (cuda->beside[i], cuda->forked, 0), "a fork");
}

static void
join (Device *dev, int count)
{
  Cuda *cuda = cuda_of (dev);
  for (int i = 0; i < count; i++) {
    cuda_check (
        dev, cudaEventRecord (cuda->joined[i], cuda->beside[i]), "a join");
    cuda_check (dev,
        cudaStreamWaitEvent (cuda_stream (dev), cuda->joined[i], 0), "a join");
  }
}

/* None of the products alone is enough for all processors of a GPU, or leaves
 * them idle at its end. */
static void
matmul_several (
    Device *dev, const MatProduct *products, int count, const Act *x, int n)
{
  if (n <= CUDA_FEW_ROWS) {
    cuda_few_rows (dev, products, count, x, dev->act_type, n);
    return;
  }
  fork (dev, count - 1);
  for (int i = 0; i < count; i++)
    if (!multiply_many (dev, i, &products[i], x, n))
      cuda_few_rows (dev, &products[i], 1, x, dev->act_type, n);
  join (dev, count - 1);
}

static void
gated (Device *dev, Act *y, const Act *x, const Mat *gate, const Mat *up, int n,
    float *work)
{
  size_t count = (size_t) n * gate->rows;
  if (n <= CUDA_FEW_ROWS) {
    cuda_few_rows_gated (dev, y, x, gate, up, n);
    return;
  }
  MatProduct products[] = { { work, gate, EPILOGUE_WIDE },
    { work + count, up, EPILOGUE_WIDE } };
  matmul_several (dev, products, 2, x, n);
  dev->op->swiglu (dev, y, work, work + count, count);
}

/* More rows than few go in pieces: they are a batch's last tokens. */
static void
logits (Device *dev, float *y, const Residual *x, const Mat *w, int n)
{
  MatProduct product = { y, w, EPILOGUE_SET };
  cuda_few_rows (dev, &product, 1, x, TYPE_F32, n);
}

/* ---- embed ---- */

template <typename W>
__global__ void
embed_kernel (Residual *y, const W *table, const int *ids, int d)
{
  begin_early ();
  const W *row = table + (size_t) ids[blockIdx.x] * d;
  y += (size_t) blockIdx.x * d;
  for (int j = threadIdx.x; j < d; j += blockDim.x)
    y[j] = to_float (row[j]);
}

static void
embed (Device *dev, Residual *y, const Mat *table, const int *ids, int n)
{
  if (n == 0)
    return;
  with_type (table->type, [&] (auto number) {
    typedef decltype (number) W;
    LAUNCH_EARLY (embed_kernel<W>, n, THREADS, 0, dev, y,
        (const W *) table->data, ids, table->cols);
  });
  cuda_launched (dev, "embed");
}

void
cuda_init_matmul (Ops *op)
{
  op->matmul = matmul;
  op->matmul_several = matmul_several;
  op->gated = gated;
  op->logits = logits;
  op->embed = embed;
}
