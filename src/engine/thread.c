/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

#include "engine/thread.h"

#include <signal.h>

GThread *
thread_start(const char *name, GThreadFunc fn, void *data, GError **ret_error)
{
    GThread *thread;
    sigset_t all;
    sigset_t before;

    /* The new thread inherits the mask, so that there is no moment in which it has another */
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    thread = g_thread_try_new(name, fn, data, ret_error);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return thread;
}
