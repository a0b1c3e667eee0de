/* record.cu - ops captured into graphs, and graphs launched
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A key seen for the first time runs as usual: its ops make scratch grow and
 * choose algorithms. The second time they are captured, from then on one
 * launch replays them.
 */
#include "kernels/cuda/common.cuh"

#include <string.h>

static CudaRecording *
find (Cuda *cuda, const DeviceKey *key)
{
  for (int i = 0; i < cuda->n_recordings; i++)
    if (!memcmp (&cuda->recordings[i].key, key, sizeof *key))
      return &cuda->recordings[i];
  return NULL;
}

/* The last one takes its place. */
static void
drop (Cuda *cuda, CudaRecording *recording)
{
  if (recording->graph)
    cudaGraphExecDestroy (recording->graph);
  *recording = cuda->recordings[--cuda->n_recordings];
}

static void
drop_oldest (Cuda *cuda)
{
  CudaRecording *oldest = &cuda->recordings[0];
  for (int i = 1; i < cuda->n_recordings; i++)
    if (cuda->recordings[i].used < oldest->used)
      oldest = &cuda->recordings[i];
  drop (cuda, oldest);
}

void
cuda_forget_all (Device *dev)
{
  Cuda *cuda = cuda_of (dev);
  while (cuda->n_recordings)
    drop (cuda, &cuda->recordings[0]);
  cuda->open = NULL;
}

static void
forget (Device *dev, const void *owner)
{
  Cuda *cuda = cuda_of (dev);
  for (int i = cuda->n_recordings - 1; i >= 0; i--) {
    const DeviceKey *key = &cuda->recordings[i].key;
    if (key->owner[0] == owner || key->owner[1] == owner)
      drop (cuda, &cuda->recordings[i]);
  }
}

static bool
replay (Device *dev, const DeviceKey *key)
{
  Cuda *cuda = cuda_of (dev);
  CudaRecording *recording = find (cuda, key);
  if (!recording || !recording->graph)
    return false;
  recording->used = ++cuda->clock;
  cuda_check (
      dev, cudaGraphLaunch (recording->graph, cuda_stream (dev)), "a graph");
  return true;
}

static void
record (Device *dev, const DeviceKey *key)
{
  Cuda *cuda = cuda_of (dev);
  if (!dev->records)
    return;
  cuda->open = find (cuda, key);
  if (cuda->open) {
    cuda->capturing = cuda_check (dev,
        cudaStreamBeginCapture (
            cuda_stream (dev), cudaStreamCaptureModeThreadLocal),
        "beginning a graph");
    return;
  }
  if (cuda->n_recordings == CUDA_MAX_RECORDINGS)
    drop_oldest (cuda);
  cuda->open = &cuda->recordings[cuda->n_recordings++];
  *cuda->open = CudaRecording ();
  cuda->open->key = *key;
  cuda->open->used = ++cuda->clock;
}

/* Captured ops have not run yet. */
static void
finish_capture (Device *dev, CudaRecording *recording)
{
  Cuda *cuda = cuda_of (dev);
  cudaGraph_t graph = NULL;
  cuda->capturing = false;
  if (!cuda_check (dev, cudaStreamEndCapture (cuda_stream (dev), &graph),
          "ending a graph"))
    return;
  if (cuda_check (dev, cudaGraphInstantiate (&recording->graph, graph, 0),
          "making a graph"))
    cuda_check (
        dev, cudaGraphLaunch (recording->graph, cuda_stream (dev)), "a graph");
  cudaGraphDestroy (graph);
}

static void
recorded (Device *dev, bool all)
{
  Cuda *cuda = cuda_of (dev);
  CudaRecording *recording = cuda->open;
  if (cuda->capturing)
    finish_capture (dev, recording);
  cuda->open = NULL;
  if (recording && !all)
    drop (cuda, recording);
}

void
cuda_init_recording (Ops *op)
{
  op->replay = replay;
  op->record = record;
  op->recorded = recorded;
  op->forget = forget;
}
