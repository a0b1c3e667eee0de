/* backend.h - what the host code of the CUDA backend shares
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Every family file has one init that sets its own slots. Ops go to one
 * stream, in the order of the calls, and little uploads with them; others go to
 * a stream that waits for the ops before and is waited for by those behind.
 * Only sync, download and free wait, and uploads when there are more of them
 * than stages.
 */
#pragma once

#include "kernels/ops.h"

#include <cublasLt.h>
#include <cuda_runtime.h>

/* More than the uploads of a frame, as each waits for the ops before it. */
#define CUDA_N_STAGES 64
#define CUDA_STAGE_BYTES ((size_t) 256 << 10)
#define CUDA_ANSWER_BYTES ((size_t) 64 << 10)  /* larger downloads go direct */
#define CUDA_SCRATCH_BYTES ((size_t) 16 << 20) /* to begin with */
#define CUDA_WORKSPACE_BYTES ((size_t) 32 << 20) /* of a product */

/* A piece of pinned memory that uploads pass through. */
typedef struct CudaStage {
  char *data;
  cudaEvent_t done; /* its last copy */
} CudaStage;

/* Ops captured into a graph; seen once and not captured yet if NULL. */
typedef struct CudaRecording {
  DeviceKey key;
  cudaGraphExec_t graph;
  unsigned long used; /* when: see Cuda.clock */
} CudaRecording;

#define CUDA_MAX_RECORDINGS 64

/* A product's shape and the algorithm that the heuristic chose for it. */
typedef struct CudaPlan {
  int n, rows, cols;
  DataType type, out;
  uint32_t x_alignment, y_alignment; /* bytes, 256 at most */
  bool has_bias, adds;
  bool impossible; /* there is no algorithm */
  cublasLtMatmulDesc_t desc;
  cublasLtMatrixLayout_t w, x, y;
  cublasLtMatmulAlgo_t algo;
} CudaPlan;

/* Device.backend */
typedef struct Cuda {
  struct Ops op;        /* Device.op points here */
  int index;            /* of the GPU */
  bool overlaps;        /* kernels may begin while those before them run */
  size_t block_shared;  /* most shared memory of a block */
  bool settled;         /* has what it needs for itself: see cuda_settle */
  cudaStream_t stream;  /* of all ops */
  cudaStream_t uploads; /* of copies from the host */
  /* Of products beside the first of several, which wait for `forked` and are
   * waited for by `joined`. */
  cudaStream_t beside[MAX_PRODUCTS - 1];
  cudaEvent_t forked, joined[MAX_PRODUCTS - 1];
  cudaEvent_t computed, uploaded;
  bool busy; /* something was submitted that nobody has waited for */
  CudaStage stages[CUDA_N_STAGES];
  int next_stage;
  char *answer; /* pinned: where small downloads arrive */
  cudaEvent_t marks[DEVICE_MARKS];
  void *scratch; /* see cuda_scratch */
  size_t scratch_bytes;
  cublasLtHandle_t blas;
  void *workspace[MAX_PRODUCTS]; /* cuBLASLt's */
  CudaPlan *plans;               /* of shapes seen, the latest last */
  int n_plans;
  CudaRecording recordings[CUDA_MAX_RECORDINGS];
  int n_recordings;
  unsigned long clock;
  CudaRecording *open; /* between record and recorded */
  bool capturing;
} Cuda;

static inline Cuda *
cuda_of (const Device *dev)
{
  return (Cuda *) dev->backend;
}

/* The stream that ops go to, with its GPU current on the calling thread. */
cudaStream_t cuda_stream (Device *dev);

/* Takes scratch, workspaces and pinned memory. The first allocation does: what
 * only asks what the device is called costs next to nothing. */
bool cuda_settle (Device *dev);

/* On threads that are not the engine's own: the context that is current there
 * is so again at the end. */
struct CudaVisit {
  void *before;
  CudaVisit ();
  ~CudaVisit ();
};

/* Waits for all that was submitted. */
bool cuda_wait (Device *dev, const char *what);

/* Drops all recordings: memory that their ops name has moved. */
void cuda_forget_all (Device *dev);

/* Reports an error as the device's failure; true if there was none. */
bool cuda_check (Device *dev, cudaError_t error, const char *what);

/* Reports what the launches just made failed with. */
void cuda_launched (Device *dev, const char *what);

/* At least `bytes` of device memory, undefined contents, for the op that asks
 * and until the next one asks. It only grows, so that steady work allocates
 * nothing. NULL if it does not fit, which the device then reports. */
void *cuda_scratch (Device *dev, size_t bytes);

/* Products of more rows than the matrix-vector kernels take: y = x W^T + bias,
 * or added to y. x and W are of `type`, y and bias of `out`. `lane` 0 is the
 * stream of all ops, the others those beside it. False, and nothing is done, if
 * cuBLASLt has no algorithm for the shape. */
bool cuda_blas_matmul (Device *dev, int lane, void *y, DataType out,
    const void *x, const void *w, const void *bias, DataType type, int n,
    int rows, int cols, bool adds);
bool cuda_blas_open (Device *dev);
bool cuda_blas_settle (Device *dev);
void cuda_blas_close (Device *dev);

/* Rows of x, CUDA_FEW_ROWS at a time, each in the same arithmetic whatever n
 * is. x is `in`: of the activations' type, or f32; y is f32 if the epilogue is
 * wide, or x's type is. */
#define CUDA_FEW_ROWS 8
void cuda_few_rows (Device *dev, const MatProduct *products, int count,
    const void *x, DataType in, int n);

/* The same of the gated product: y = silu (x gate^T) * (x up^T), activations.
 */
void cuda_few_rows_gated (
    Device *dev, Act *y, const Act *x, const Mat *gate, const Mat *up, int n);

/* score[n,count] = p[n,h,stride], from column first[i] on (0 if NULL), summed
 * over heads in ascending order. */
void cuda_sum_heads (Device *dev, float *score, const float *p,
    const int *first, int n, int count, int h, int stride);

void cuda_init_memory (Ops *op);
void cuda_init_recording (Ops *op);
void cuda_init_foreign (Ops *op);
void cuda_init_mat (Ops *op);
void cuda_init_matmul (Ops *op);
void cuda_init_norm (Ops *op);
void cuda_init_elementwise (Ops *op);
void cuda_init_merge (Ops *op);
void cuda_init_attention_tiles (Ops *op);
void cuda_init_attention_paged (Ops *op);
void cuda_init_key_attention (Ops *op);
void cuda_init_listed (Ops *op);
void cuda_init_listed_choice (Ops *op);
void cuda_init_choice (Ops *op);
void cuda_init_rope (Ops *op);
void cuda_init_sample (Ops *op);
void cuda_init_image (Ops *op);
void cuda_init_pixels (Ops *op);
