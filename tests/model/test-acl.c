/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/* Access rules, groups and settings: texts, files, and the model's picture of rules */

#include <string.h>

#include "model/keyfile.h"
#include "model/model.h"
#include "util/error.h"

#define TARGET "iqn.2026-11.org.lunport:t"
#define HOST   "iqn.2026-11.org.lunport:host"

static void
assert_parses(const char *text, KeyfileObject *ret_object)
{
    g_autoptr(GError) error = NULL;

    (void)keyfile_parse(text, strlen(text), ret_object, &error);
    g_assert_no_error(error);
}

static void
assert_refused(const char *text, int code)
{
    g_autoptr(GError) error = NULL;
    g_auto(KeyfileObject) object = { 0 };

    g_assert_false(keyfile_parse(text, strlen(text), &object, &error));
    g_assert_error(error, LUNPORT_ERROR, code);
}

static void
test_luns(void)
{
    static const char *const wrong[] = { "0",       "0:",      "x:1",
                                         "0:16384", "0:1:rw",  "0:1:read-only:x",
                                         "1:0 0:1", "0:0 0:1", "0:0  1:1" };
    g_autoptr(GArray) luns = acl_luns_parse("0:3 5:0:read-only 16383:7");
    g_autofree char *text = acl_luns_format(luns);

    g_assert_cmpuint(luns->len, ==, 3);
    g_assert_true(g_array_index(luns, AclLun, 1).read_only);
    g_assert_cmpstr(text, ==, "0:3 5:0:read-only 16383:7");
    for (gsize i = 0; i < G_N_ELEMENTS(wrong); i++)
        g_assert_null(acl_luns_parse(wrong[i]));
}

/* What is written is read again, in the same order */
static void
test_target_file(void)
{
    static const char text[] = "[Target]\nFormat=1\nName=" TARGET "\nAuthentication=CHAP\n\n"
                               "[Acl 1]\nInitiator=" HOST "\nNetworks=192.0.2.0/24 ::1\n"
                               "PortalGroups=1 2\nAuthentication=None\nLunMap=0:3 1:0:read-only\n\n"
                               "[Acl 2]\nGroup=nodes\nAction=deny\n";
    g_auto(KeyfileObject) object = { 0 };
    g_autofree char *again = NULL;

    assert_parses(text, &object);
    again = keyfile_format_target(object.target);
    g_assert_cmpstr(again, ==, text);
    g_assert_nonnull(target_spec_find_acl(object.target, "@nodes", NULL));
    g_assert_nonnull(target_spec_find_acl(object.target, HOST, NULL));
    g_assert_null(target_spec_find_acl(object.target, "nodes", NULL));
}

static void
test_other_files(void)
{
    static const char group[] =
        "[InitiatorGroup]\nFormat=1\nName=nodes\nInitiators=" HOST " iqn.2026-12.*\n";
    static const char service[] =
        "[Service]\nFormat=1\nChapAlgorithms=SHA-256\nDiscoveryAuthentication=CHAP\n";
    g_auto(KeyfileObject) first = { 0 };
    g_auto(KeyfileObject) second = { 0 };
    g_autofree char *one = NULL;
    g_autofree char *other = NULL;

    assert_parses(group, &first);
    assert_parses(service, &second);
    one = keyfile_format_initiator_group(first.initiator_group);
    other = keyfile_format_settings(second.settings);
    g_assert_cmpstr(one, ==, group);
    g_assert_cmpstr(other, ==, service);
}

static void
test_refused_files(void)
{
#define RULE "[Target]\nName=" TARGET "\n[Acl 1]\n"
    assert_refused(RULE "ReadOnly=yes\n", LUNPORT_ERROR_INVALID_ARGUMENT);
    assert_refused(RULE "Initiator=" HOST "\nGroup=g\n", LUNPORT_ERROR_INVALID_ARGUMENT);
    assert_refused(RULE "Initiator=host\n", LUNPORT_ERROR_INVALID_NAME);
    assert_refused(RULE "Initiator=*\nAction=deny\nReadOnly=yes\n", LUNPORT_ERROR_INVALID_ARGUMENT);
    assert_refused(RULE "Initiator=*\nNetworks=192.0.2.1/24\n", LUNPORT_ERROR_INVALID_ARGUMENT);
    assert_refused(RULE "Initiator=*\nLunMap=1:0 0:1\n", LUNPORT_ERROR_INVALID_ARGUMENT);
    assert_refused(RULE "Initiator=*\nSecret=no\n", LUNPORT_ERROR_INVALID_ARGUMENT);
    assert_refused(RULE "Initiator=*\n[Acl 2]\nInitiator=*\n", LUNPORT_ERROR_ALREADY_EXISTS);
#undef RULE
    assert_refused("[InitiatorGroup]\nInitiators=*\n", LUNPORT_ERROR_INVALID_ARGUMENT);
    assert_refused("[InitiatorGroup]\nName=g\nInitiators=* *\n", LUNPORT_ERROR_INVALID_ARGUMENT);
    assert_refused("[Service]\nChapAlgorithms=\n", LUNPORT_ERROR_INVALID_ARGUMENT);
    assert_refused("[Service]\nChapAlgorithms=ROT13\n", LUNPORT_ERROR_INVALID_ARGUMENT);
    assert_refused("[Service]\nDiscoveryAuthentication=Target\n", LUNPORT_ERROR_INVALID_ARGUMENT);
}

static TargetSpec *
spec_with(const char *const *initiators)
{
    TargetSpec *spec = target_spec_new(TARGET);

    for (gsize i = 0; initiators[i] != NULL; i++) {
        AclSpec *acl = acl_spec_new();

        g_free(acl->initiator);
        acl->initiator = g_strdup(initiators[i]);
        g_ptr_array_add(spec->acls, acl);
    }
    return spec;
}

typedef struct {
    guint n_added;
    guint n_removed;
} Seen;

static void
on_added(ModelKind kind, gpointer object, gpointer data)
{
    if (kind == MODEL_ACL)
        ((Seen *)data)->n_added++;
}

static void
on_changed(ModelKind kind, gpointer object, gpointer data)
{
    if (kind == MODEL_ACL)
        g_assert_nonnull(model_acl_spec(object));
}

static void
on_removed(ModelKind kind, gpointer object, gpointer data)
{
    if (kind == MODEL_ACL) {
        g_assert_nonnull(model_acl_spec(object));
        ((Seen *)data)->n_removed++;
    }
}

/* Rules keep their identity while their order changes */
static void
test_rules_follow(void)
{
    static const ModelObserver observer = { on_added, on_changed, on_removed };
    static const char *const before[] = { "a.*", "b.*", "c.*", NULL };
    static const char *const after[] = { "d.*", "c.*", "a.*", NULL };
    g_autoptr(Model) model = model_new();
    Seen seen = { 0 };
    ModelTarget *target;
    guint32 id;

    model_set_observer(model, &observer, &seen);
    target = model_add_target(model, spec_with(before), NULL, MODEL_ORIGIN_STATE);
    id = model_find_acl(target, "c.*")->id;
    g_assert_cmpuint(seen.n_added, ==, 3);

    model_set_target(model, target, spec_with(after), NULL);
    g_assert_cmpuint(seen.n_added, ==, 4);
    g_assert_cmpuint(seen.n_removed, ==, 1);
    g_assert_cmpuint(model_find_acl(target, "c.*")->id, ==, id);
    g_assert_cmpstr(((ModelAcl *)target->acls->pdata[0])->name, ==, "d.*");
    g_assert_true(model_find_acl_by_id(target, id) == target->acls->pdata[1]);

    model_remove_target(model, target);
    g_assert_cmpuint(seen.n_removed, ==, 4);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/model/acl/luns", test_luns);
    g_test_add_func("/model/acl/target-file", test_target_file);
    g_test_add_func("/model/acl/other-files", test_other_files);
    g_test_add_func("/model/acl/refused-files", test_refused_files);
    g_test_add_func("/model/acl/rules-follow", test_rules_follow);
    return g_test_run();
}
