/* foreign.cu - copies, also from memory of another context or GPU
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

struct Driver {
  GetAttribute get_attribute; /* NULL: there is none */
  CopyPeer copy_peer;
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
  return driver;
}

static const Driver *
driver ()
{
  static const Driver found = find_driver ();
  return &found;
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
