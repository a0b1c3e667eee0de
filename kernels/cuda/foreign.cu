/* foreign.cu - contexts of other code: its memory, and its threads
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The runtime knows primary contexts only. The driver tells whose memory is,
 * and copies between contexts that cannot see each other's; the module does not
 * link it, but the runtime has loaded it.
 */
#include "kernels/cuda/common.cuh"

#include <dlfcn.h>

#define POINTER_CONTEXT 1 /* CU_POINTER_ATTRIBUTE_CONTEXT */

typedef unsigned long long Address; /* CUdeviceptr */
typedef int (*GetAttribute) (void *value, int attribute, Address address);
typedef int (*CopyPeer) (Address dst, void *dst_context, Address src,
    void *src_context, size_t bytes, cudaStream_t stream);
typedef int (*GetCurrent) (void **context);
typedef int (*SetCurrent) (void *context);

/* Its functions, NULL where there is none. */
struct Driver {
  GetAttribute get_attribute;
  CopyPeer copy_peer;
  GetCurrent get_current;
  SetCurrent set_current;
};

static Driver
find_driver ()
{
  void *library = dlopen ("libcuda.so.1", RTLD_LAZY);
  Driver driver = {};
  if (!library)
    return driver;
  driver.copy_peer = (CopyPeer) dlsym (library, "cuMemcpyPeerAsync");
  if (driver.copy_peer)
    driver.get_attribute =
        (GetAttribute) dlsym (library, "cuPointerGetAttribute");
  driver.set_current = (SetCurrent) dlsym (library, "cuCtxSetCurrent");
  driver.get_current = (GetCurrent) dlsym (library, "cuCtxGetCurrent");
  return driver;
}

static const Driver *
driver ()
{
  static const Driver found = find_driver ();
  return &found;
}

/* A driver that nobody has used yet has no context and says so by an error. */
CudaVisit::CudaVisit () : before (NULL)
{
  if (driver ()->get_current && driver ()->get_current (&before))
    before = NULL;
}

CudaVisit::~CudaVisit ()
{
  if (driver ()->get_current && driver ()->set_current)
    driver ()->set_current (before);
}

/* NULL if nobody knows. */
static void *
context_of (const void *ptr)
{
  void *context = NULL;
  if (!driver ()->get_attribute ||
      driver ()->get_attribute (&context, POINTER_CONTEXT, (Address) ptr))
    return NULL;
  return context;
}

static void
copy (Device *dev, void *dst, const void *src, size_t bytes)
{
  cudaStream_t stream = cuda_stream (dev);
  void *to = context_of (dst), *from = context_of (src);
  if (!to || !from || to == from)
    cuda_check (dev,
        cudaMemcpyAsync (dst, src, bytes, cudaMemcpyDefault, stream), "a copy");
  else if (driver ()->copy_peer (
               (Address) dst, to, (Address) src, from, bytes, stream))
    device_fail (dev, DEVICE_LOST,
        "%s: a copy from another context's memory failed", dev->name);
}

void
cuda_init_foreign (Ops *op)
{
  op->copy = copy;
}
