/* blas.cu - products of many rows by cuBLASLt
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * cuBLASLt counts in columns: the row-major y[n,rows] is its D[rows,n], W
 * [rows,cols] its A transposed, x[n,cols] its B. Sums are f32. What the
 * heuristic says of a shape is kept; shapes of prompts differ, so the oldest
 * half makes room when the list is full.
 */
#include "kernels/cuda/common.cuh"

#include <stdlib.h>
#include <string.h>

#define MAX_PLANS 512

static bool
check (Device *dev, cublasStatus_t status, const char *what)
{
  if (status == CUBLAS_STATUS_SUCCESS)
    return true;
  device_fail (dev, DEVICE_LOST, "%s: %s failed: cuBLASLt's status is %d",
      dev->name, what, (int) status);
  return false;
}

bool
cuda_blas_open (Device *dev)
{
  Cuda *cuda = cuda_of (dev);
  cuda->plans = (CudaPlan *) calloc (MAX_PLANS, sizeof *cuda->plans);
  return cuda->plans &&
         check (dev, cublasLtCreate (&cuda->blas), "opening cuBLASLt");
}

bool
cuda_blas_settle (Device *dev)
{
  void **workspace = cuda_of (dev)->workspace;
  for (int i = 0; i < MAX_PRODUCTS; i++) {
    if (!workspace[i])
      workspace[i] = device_alloc (dev, CUDA_WORKSPACE_BYTES);
    if (!workspace[i])
      return false;
  }
  return true;
}

static void
plan_clear (CudaPlan *plan)
{
  if (plan->desc)
    cublasLtMatmulDescDestroy (plan->desc);
  if (plan->w)
    cublasLtMatrixLayoutDestroy (plan->w);
  if (plan->x)
    cublasLtMatrixLayoutDestroy (plan->x);
  if (plan->y)
    cublasLtMatrixLayoutDestroy (plan->y);
  memset (plan, 0, sizeof *plan);
}

void
cuda_blas_close (Device *dev)
{
  Cuda *cuda = cuda_of (dev);
  for (int i = 0; i < cuda->n_plans; i++)
    plan_clear (&cuda->plans[i]);
  free (cuda->plans);
  if (cuda->blas)
    cublasLtDestroy (cuda->blas);
  for (int i = 0; i < MAX_PRODUCTS; i++)
    cudaFree (cuda->workspace[i]);
}

static cudaDataType_t
blas_type (DataType type)
{
  return type == TYPE_F32    ? CUDA_R_32F
         : type == TYPE_BF16 ? CUDA_R_16BF
                             : CUDA_R_16F;
}

static bool
describe (Device *dev, CudaPlan *plan)
{
  cublasOperation_t transposed = CUBLAS_OP_T;
  cublasLtEpilogue_t bias = CUBLASLT_EPILOGUE_BIAS;
  cudaDataType_t in = blas_type (plan->type), out = blas_type (plan->out);
  const char *what = "describing a product";
  return check (dev,
             cublasLtMatmulDescCreate (
                 &plan->desc, CUBLAS_COMPUTE_32F, CUDA_R_32F),
             what) &&
         check (dev,
             cublasLtMatmulDescSetAttribute (plan->desc,
                 CUBLASLT_MATMUL_DESC_TRANSA, &transposed, sizeof transposed),
             what) &&
         (!plan->has_bias ||
             (check (dev,
                  cublasLtMatmulDescSetAttribute (plan->desc,
                      CUBLASLT_MATMUL_DESC_EPILOGUE, &bias, sizeof bias),
                  what) &&
                 check (dev,
                     cublasLtMatmulDescSetAttribute (plan->desc,
                         CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, &out, sizeof out),
                     what))) &&
         check (dev,
             cublasLtMatrixLayoutCreate (
                 &plan->w, in, plan->cols, plan->rows, plan->cols),
             what) &&
         check (dev,
             cublasLtMatrixLayoutCreate (
                 &plan->x, in, plan->cols, plan->n, plan->cols),
             what) &&
         check (dev,
             cublasLtMatrixLayoutCreate (
                 &plan->y, out, plan->rows, plan->n, plan->rows),
             what);
}

static bool
choose (Device *dev, CudaPlan *plan)
{
  cublasLtMatmulPreference_t preference;
  cublasLtMatmulHeuristicResult_t result;
  size_t workspace = CUDA_WORKSPACE_BYTES;
  /* Parts of a sum that are added up in y's type would be rounded to it. */
  uint32_t reduction = CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
  int n_results = 0;
  if (!check (dev, cublasLtMatmulPreferenceCreate (&preference),
          "asking for an algorithm"))
    return false;
  cublasLtMatmulPreferenceSetAttribute (preference,
      CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace, sizeof workspace);
  cublasLtMatmulPreferenceSetAttribute (preference,
      CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &reduction, sizeof reduction);
  cublasLtMatmulPreferenceSetAttribute (preference,
      CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, &plan->x_alignment,
      sizeof plan->x_alignment);
  cublasLtMatmulPreferenceSetAttribute (preference,
      CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, &plan->y_alignment,
      sizeof plan->y_alignment);
  cublasLtMatmulPreferenceSetAttribute (preference,
      CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, &plan->y_alignment,
      sizeof plan->y_alignment);
  cublasStatus_t status =
      cublasLtMatmulAlgoGetHeuristic (cuda_of (dev)->blas, plan->desc, plan->w,
          plan->x, plan->y, plan->y, preference, 1, &result, &n_results);
  cublasLtMatmulPreferenceDestroy (preference);
  plan->impossible =
      status == CUBLAS_STATUS_NOT_SUPPORTED ||
      (status == CUBLAS_STATUS_SUCCESS &&
          (n_results < 1 || result.state != CUBLAS_STATUS_SUCCESS));
  plan->algo = result.algo;
  return plan->impossible || check (dev, status, "choosing an algorithm");
}

static bool
is_same (const CudaPlan *a, const CudaPlan *b)
{
  return a->n == b->n && a->rows == b->rows && a->cols == b->cols &&
         a->type == b->type && a->out == b->out &&
         a->x_alignment == b->x_alignment && a->y_alignment == b->y_alignment &&
         a->has_bias == b->has_bias && a->adds == b->adds;
}

static void
drop_oldest (Cuda *cuda)
{
  int half = MAX_PLANS / 2;
  for (int i = 0; i < half; i++)
    plan_clear (&cuda->plans[i]);
  memmove (cuda->plans, cuda->plans + half, half * sizeof *cuda->plans);
  memset (cuda->plans + half, 0, half * sizeof *cuda->plans);
  cuda->n_plans = half;
}

static void
set_bias (const CudaPlan *plan, const void *bias)
{
  if (bias)
    cublasLtMatmulDescSetAttribute (
        plan->desc, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias, sizeof bias);
}

/* The algorithm is chosen with the bias in place: without one there may be
 * none. */
static bool
make_plan (Device *dev, CudaPlan *plan, const void *bias)
{
  if (!describe (dev, plan))
    return false;
  set_bias (plan, bias);
  return choose (dev, plan);
}

static CudaPlan *
find_plan (Device *dev, const CudaPlan *wanted, const void *bias)
{
  Cuda *cuda = cuda_of (dev);
  for (int i = cuda->n_plans - 1; i >= 0; i--)
    if (is_same (&cuda->plans[i], wanted))
      return &cuda->plans[i];
  if (cuda->n_plans == MAX_PLANS)
    drop_oldest (cuda);
  CudaPlan *plan = &cuda->plans[cuda->n_plans];
  *plan = *wanted;
  if (!make_plan (dev, plan, bias)) {
    plan_clear (plan);
    return NULL;
  }
  cuda->n_plans++;
  return plan;
}

/* cuBLASLt takes 256 bytes for granted, rows amid an array have less. */
static uint32_t
alignment_of (const void *ptr)
{
  uint32_t low = (uint32_t) ((uintptr_t) ptr & -(uintptr_t) ptr & 255);
  return low ? low : 256;
}

bool
cuda_blas_matmul (Device *dev, int lane, void *y, DataType out, const void *x,
    const void *w, const void *bias, DataType type, int n, int rows, int cols,
    bool adds)
{
  Cuda *cuda = cuda_of (dev);
  CudaPlan wanted = {};
  wanted.n = n;
  wanted.rows = rows;
  wanted.cols = cols;
  wanted.type = type;
  wanted.out = out;
  wanted.x_alignment = alignment_of (x);
  wanted.y_alignment = alignment_of (y);
  wanted.has_bias = bias != NULL;
  wanted.adds = adds;
  cudaStream_t stream = cuda_stream (dev);
  CudaPlan *plan = find_plan (dev, &wanted, bias);
  float one = 1, beta = adds ? 1 : 0;
  if (!plan)
    return true;
  if (plan->impossible)
    return false;
  set_bias (plan, bias);
  check (dev,
      cublasLtMatmul (cuda->blas, plan->desc, &one, w, plan->w, x, plan->x,
          &beta, y, plan->y, y, plan->y, &plan->algo, cuda->workspace[lane],
          CUDA_WORKSPACE_BYTES, lane ? cuda->beside[lane - 1] : stream),
      "a product");
  return true;
}
