/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include "ctl/verbs.h"

/*
 * CHAP accounts on the command line: names are options, secrets never are
 */

/* The options of verbs that set an account, for their tables */
#define SECRET_OPTIONS                                                                             \
    { "mutual-user", "mutual-user", OPTION_STRING,                                                 \
      "what the target proves itself as, with a secret of its own" },                              \
        { "secret-fd", "secret-fd", OPTION_UINT32,                                                 \
          "read the secret from this descriptor instead of the terminal" },                        \
    {                                                                                              \
        "mutual-secret-fd", "mutual-secret-fd", OPTION_UINT32,                                     \
            "the same for the secret of the target"                                                \
    }

/* The options speak of the target's proof; then what is not given of the initiator's stays */
gboolean secret_has_mutual(const Ctl *ctl);

/**
 * secret_add() - put the account that the options speak of into @dict
 * @user_key: of the option that has the user, also in @dict
 * @wants_secret: a secret is asked for although no option speaks of an account
 *
 * Asks for secrets on the terminal, twice each and without echo, where no descriptor is given.
 */
gboolean secret_add(Ctl *ctl, GVariantDict *dict, const char *user_key, gboolean wants_secret,
                    GError **ret_error);
