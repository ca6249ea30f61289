from tests.helpers import copy_project, run_stage_here, set_parameters


def test_a_target_that_does_not_exist_is_refused_with_the_names_of_those_that_do(folder, capsys):
    copy_project(folder)
    set_parameters(folder, {"export.targets": "[wasm32, cortex_m3]"})
    assert run_stage_here("preflight") == 2
    assert capsys.readouterr().err == (
        "preflight: params.yaml: export.targets: expected names among x86_64, aarch64_dotprod, aarch64, cortex_m4, "
        "cortex_m0plus, wasm32, got cortex_m3\n"
    )
