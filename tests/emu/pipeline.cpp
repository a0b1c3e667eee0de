/* pipeline.cpp - what is on its way into shared memory
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "cuda_pipeline.h"
#include "tests/emu/emu.h"

#define POISON 0xff
#define MAX_THREADS 1024

struct Copy {
  char *to;
  const char *from;
  size_t bytes, zeros;
};

typedef std::vector<Copy> Group;

static std::vector<Group> groups[MAX_THREADS]; /* of each thread, in order */
static Group open_group[MAX_THREADS];

void
emu_copy_async (void *to, const void *from, size_t bytes, size_t zeros)
{
  if ((bytes != 4 && bytes != 8 && bytes != 16) || zeros > bytes ||
      (uintptr_t) to % bytes || (uintptr_t) from % bytes)
    emu_die ("copy of %zu bytes from %p to %p", bytes, from, to);
  memset (to, POISON, bytes);
  open_group[emu_self->number].push_back (
      { (char *) to, (const char *) from, bytes, zeros });
}

void
emu_copies_commit ()
{
  groups[emu_self->number].push_back (std::move (open_group[emu_self->number]));
  open_group[emu_self->number].clear ();
}

void
emu_copies_wait (size_t n)
{
  std::vector<Group> &mine = groups[emu_self->number];
  size_t n_done = mine.size () > n ? mine.size () - n : 0;
  for (size_t i = 0; i < n_done; i++)
    for (const Copy &copy : mine[i]) {
      memcpy (copy.to, copy.from, copy.bytes - copy.zeros);
      memset (copy.to + copy.bytes - copy.zeros, 0, copy.zeros);
    }
  mine.erase (mine.begin (), mine.begin () + (ptrdiff_t) n_done);
}

bool
emu_has_copies (int number)
{
  return !groups[number].empty () || !open_group[number].empty ();
}

void
emu_check_copies (int number)
{
  if (emu_has_copies (number))
    emu_die ("a thread leaves the kernel with copies that it has not waited "
             "for");
}
