# What the distillations here share: data, schedule, and DeepLabV3+ R18 with 32 channels teaching it with 8.
_base_ = ['./runtime.py', '../../_base_/schedules/camvid_12e.py']
pair = dict(
    architecture=dict(cfg_path='lckd_mm::camvid/deeplabv3plus_r18w8_camvid.py'),
    teacher=dict(cfg_path='lckd_mm::camvid/deeplabv3plus_r18w32_camvid.py'),
    teacher_ckpt='work_dirs/deeplabv3plus_r18w32_camvid/epoch_40.pth',
)
probe_size = (160, 208)
